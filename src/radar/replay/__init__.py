"""Replay: serve a recorded period in the exchange's own protocol."""
