"""A process that runs the notebook's cells; prints the seconds and peak bytes of each as JSON."""

import json
import resource
import sys
import time
from typing import Any

from benchmarks.notebook import cells


def main() -> None:
    """Run every cell in the same names, as a notebook does."""
    names: dict[str, Any] = {}
    for _, code in cells():
        began_s = time.perf_counter()
        exec(code, names)
        took_s = time.perf_counter() - began_s
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        sys.stdout.write(f"{json.dumps([took_s, peak_bytes])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
