-- One row per delivery of a trade; rows of the same trade collapse to the one received first.
CREATE TABLE IF NOT EXISTS trades_master
(
    trade_id UUID COMMENT 'Identity: hash of the trade and its occurrence number' CODEC(NONE),
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    symbol LowCardinality(String) COMMENT 'Market as the exchange writes it: USDTTMN',
    base LowCardinality(String) COMMENT 'USDT',
    quote LowCardinality(String) COMMENT 'TMN (Toman)',
    side Enum8('buy' = 1, 'sell' = 2) COMMENT 'Side of the taker',
    price Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(ZSTD(1)),
    base_amount Decimal(38, 18) COMMENT 'Base units, exact' CODEC(ZSTD(1)),
    -- By wider numbers: multiplyDecimal would give the same, at twenty times the cost.
    quote_amount Decimal(38, 18) MATERIALIZED toDecimal128(toDecimal256(price, 18) * toDecimal256(base_amount, 18), 18)
        COMMENT 'price x base_amount, cut at 18 places' CODEC(ZSTD(1)),
    event_time DateTime64(3, 'UTC') COMMENT 'Clock of the exchange' CODEC(DoubleDelta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') COMMENT 'Clock of the producer' CODEC(Delta, ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)),
    -- The greatest version stays, so the earlier a trade was received the greater it must be.
    version UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Micro(received_at)))
        COMMENT 'Falls as received_at rises' CODEC(Delta, ZSTD(1)),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT positive_price CHECK price > 0,
    CONSTRAINT positive_amount CHECK base_amount > 0
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(event_time)
ORDER BY (source, symbol, event_time, trade_id)
-- By the time of receipt, so that an old trade of a quiet market does not vanish at once.
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
