-- What candles and the list of markets read of every trade: LZ4 is unpacked so much faster that they take
-- a quarter less, for a seventh more of disk. Nothing is rewritten: parts change when they are merged.
ALTER TABLE trades_master
    MODIFY COLUMN price CODEC(LZ4),
    MODIFY COLUMN base_amount CODEC(LZ4),
    MODIFY COLUMN quote_amount CODEC(LZ4),
    MODIFY COLUMN event_time CODEC(DoubleDelta, LZ4),
    MODIFY COLUMN received_at CODEC(Delta, LZ4);
