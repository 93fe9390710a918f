"""Who takes part in the comparison of workers; every one stores the same rows in the same table.

The modules with a command line are programs that are written as the documentation of their
library shows; `peers.py` starts them. They import nothing of radar.
"""
