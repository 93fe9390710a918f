-- Other causes than unreadable batches follow (deleted offsets, recreated topics): each row names its own, who
-- recorded it, and why it was given up.
ALTER TABLE delivery_gaps
    ADD COLUMN IF NOT EXISTS cause LowCardinality(String) DEFAULT 'unreadable'
        COMMENT 'Why the offsets are no rows: unreadable (no client can read the batch)' AFTER last_offset,
    ADD COLUMN IF NOT EXISTS explanation String DEFAULT '' COMMENT 'Why the operator gave the offsets up' AFTER reason,
    ADD COLUMN IF NOT EXISTS recorded_by LowCardinality(String) DEFAULT 'radar skip'
        COMMENT 'Command that recorded the row' AFTER explanation;
