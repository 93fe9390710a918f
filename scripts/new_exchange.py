"""Writes the skeleton of a driver, of its protocol for the simulator and of its sample.

python scripts/new_exchange.py coinbase
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEMPLATES = Path(__file__).parent / "exchange"
FILES = {
    "driver.py.txt": "src/radar/exchanges/{name}.py",
    "dialect.py.txt": "src/radar_simulator/dialects/{name}.py",
    "fixture.json.txt": "tests/fixtures/drivers/{name}.json",
}
NEXT = """\
wrote {files}
next: replace the skeleton's facts by those of the exchange (docs/adding-an-exchange.md), then
  .venv/bin/pytest -q tests/unit/test_driver_conformance.py -k {name}
  EXCHANGES={name} .venv/bin/radar up --simulate --duration 20
"""


def write(name: str, root: Path = ROOT) -> list[str]:
    """Write the files of an exchange; return their paths.

    Raises:
        ValueError: The name is not usable, or one of the files exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]{1,31}", name):
        raise ValueError(f"the name {name!r} is not usable: lower-case letters and digits")
    paths = {template: root / path.format(name=name) for template, path in FILES.items()}
    if found := next((path for path in paths.values() if path.exists()), None):
        raise ValueError(f"{found} exists already")
    for template, path in paths.items():
        text = (TEMPLATES / template).read_text()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@name@", name).replace("@Title@", name.capitalize()))
    return [path.relative_to(root).as_posix() for path in paths.values()]


if __name__ == "__main__":
    try:
        written = write(sys.argv[1] if len(sys.argv) > 1 else "")
    except ValueError as error:
        sys.exit(str(error))
    sys.stdout.write(NEXT.format(files=", ".join(written), name=sys.argv[1]))
