"""Workers: Kafka messages into blocks, planned, inserted and committed."""
