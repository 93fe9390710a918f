"""The ledger test: real processes, real faults, and at the end nothing lost and nothing doubled.

`schedule` draws what a run is made of and what goes wrong when, from a seed; `rig` runs the
processes and does the harm; `verdict` compares what is stored with the exchange's ledger and with
Kafka's log; `__main__` runs seeds and writes the report. A run is repeated by its seed.
"""
