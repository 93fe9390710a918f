"""From the exchange's socket to Kafka.

`connection` receives a frame, and `radar.exchanges` parses it. `recorders` turn each record into a
message: they give a trade its ID, and conflate order books. `publish` sends the messages to Kafka.
`feed` keeps the connections alive, `backfill` fetches missed trades, and `producer` assembles these
parts.
"""
