"""Workers: they collect Kafka's messages into blocks, then plan, insert and commit each block."""
