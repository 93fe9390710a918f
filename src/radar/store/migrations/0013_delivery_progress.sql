-- How far each partition of a topic is accounted for, and orders to store offsets again. A position in Kafka
-- belongs to the ID of a topic; the committed offset alone cannot show that a group was moved, that a topic was
-- recreated, or that this database was restored from an older copy.
CREATE TABLE IF NOT EXISTS delivery_progress
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic',
    partition UInt16 COMMENT 'Partition of the topic',
    next_offset UInt64 COMMENT 'Every offset before it is a row, a dead letter, or inside a delivery gap',
    generation UInt32 COMMENT 'Part of the names of insert blocks; rises when offsets are stored again',
    orders_to_us UInt64 COMMENT 'Newest order to store again that the worker has taken; microseconds since 1970',
    version UInt64 COMMENT 'Rises with each row of the partition, whatever the clock says',
    recorded_by String COMMENT 'WORKER_ID',
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, topic_id, partition)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

CREATE TABLE IF NOT EXISTS restore_orders
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic',
    partition UInt16 COMMENT 'Partition of the topic',
    first_offset UInt64 COMMENT 'First offset to store again',
    last_offset UInt64 COMMENT 'Last offset to store again',
    ordered_at_us UInt64 DEFAULT toUnixTimestamp64Micro(now64(6)) COMMENT 'Clock of ClickHouse; microseconds since 1970',
    recorded_by LowCardinality(String) DEFAULT 'radar restore' COMMENT 'Command that ordered it',
    CONSTRAINT forward CHECK last_offset >= first_offset
)
ENGINE = MergeTree
ORDER BY (topic, topic_id, partition, ordered_at_us)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

-- Rows of before are skips: their operator knew of them.
ALTER TABLE delivery_gaps
    ADD COLUMN IF NOT EXISTS state LowCardinality(String) DEFAULT 'acknowledged'
        COMMENT 'open, acknowledged (an operator knows of it) or repaired (the offsets were stored afterwards)',
    ADD COLUMN IF NOT EXISTS extent LowCardinality(String) DEFAULT 'exact'
        COMMENT 'exact; or unknown: more offsets than these may be missing, and Kafka no longer has them to count',
    MODIFY COLUMN cause COMMENT 'Why the offsets are no rows: unreadable, deleted_by_kafka, topic_recreated, log_truncated, group_moved, restored_database';
