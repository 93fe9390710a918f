-- One row per range of Kafka offsets that was given up. Today an operator gives up what no client can read; other
-- causes follow (deleted offsets, recreated topics), and each row names its own.
-- A message of such a range that is a row or a dead letter nevertheless was stored.
CREATE TABLE IF NOT EXISTS delivery_gaps
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic; a topic made anew has the same offsets again',
    partition UInt16 COMMENT 'Partition of the topic',
    first_offset UInt64 COMMENT 'First offset that is skipped',
    last_offset UInt64 COMMENT 'Last offset that is skipped',
    cause LowCardinality(String) DEFAULT 'unreadable'
        COMMENT 'Why the offsets are no rows: unreadable (no client can read the batch)',
    reason String COMMENT 'Why the offsets cannot be read, as the Kafka client reports it',
    explanation String DEFAULT '' COMMENT 'Why the operator gave the offsets up',
    recorded_by LowCardinality(String) DEFAULT 'radar skip' COMMENT 'Command that recorded the row',
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the skip was ordered; clock of ClickHouse',
    offsets UInt64 ALIAS last_offset - first_offset + 1 COMMENT 'Skipped offsets',
    CONSTRAINT forward CHECK last_offset >= first_offset
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (topic, topic_id, partition, first_offset, last_offset)
SETTINGS
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
