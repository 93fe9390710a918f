"""From the exchange's socket to Kafka.

A frame is received (`connection`), parsed (`radar.exchanges`), turned into a message
(`recorders`: trade identity or depth conflation) and published (`outlet`). `feed` keeps the
connections alive, `repair` fetches what was missed, `run` puts the parts together.
"""
