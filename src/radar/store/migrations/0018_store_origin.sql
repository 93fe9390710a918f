-- What the database holds: data of a real exchange or of a simulated one. The first worker that stores something
-- writes the only row; workers refuse messages of the other origin. The deduplication window makes a second row
-- impossible: every worker inserts its row under the same token, so the first one stays.
CREATE TABLE IF NOT EXISTS store_origin
(
    origin LowCardinality(String) COMMENT 'real or simulated',
    exchange String COMMENT 'REST address of the exchange',
    since DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the first worker wrote it; clock of ClickHouse',
    CONSTRAINT known CHECK origin IN ('real', 'simulated')
)
ENGINE = MergeTree
ORDER BY since
SETTINGS
    non_replicated_deduplication_window = 100,
    min_free_disk_bytes_to_perform_insert = 134217728;
