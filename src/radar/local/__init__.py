"""The whole pipeline on one machine: embedded stores, simulated exchange, supervisor."""
