"""Records as Kafka messages: encoder, strict decoder, batch decoder."""
