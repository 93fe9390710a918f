"""Cases of a test that takes long: which of them run each time, and which nightly."""

from collections.abc import Iterable

import pytest
from _pytest.mark.structures import ParameterSet

NIGHTLY = pytest.mark.slow

# Where a test reads recorded data. What is asked and answered is the same in both places, so the
# second one runs nightly, and when its own code has changed.
RUNNING = "running"
PLACES = [
    RUNNING,
    pytest.param(
        "at rest",
        marks=pytest.mark.slow(
            "src/chdb_server", "src/radar/data_folder.py", "src/radar/reading", "src/radar/client"
        ),
    ),
]


def others_nightly(cases: Iterable[object]) -> list[ParameterSet]:
    """Return cases of which the first stands for all; the others run nightly."""
    first, *others = cases
    return [_case(first), *(_case(each, NIGHTLY) for each in others)]


def exchange_cases(names: Iterable[str]) -> list[ParameterSet]:
    """Return a case for each exchange.

    The first one stands for what all of them share. The others run nightly, and when their own
    driver or its simulated server has changed.
    """
    first, *others = names
    return [_case(first), *(_case(name, of_exchange(name)) for name in others)]


def of_exchange(name: str) -> pytest.MarkDecorator:
    """Return the mark of a case that runs nightly, and when this exchange's code has changed."""
    return pytest.mark.slow(
        f"src/radar/exchanges/{name}.py", f"src/radar_simulator/dialects/{name}.py"
    )


def _case(values: object, *marks: pytest.MarkDecorator) -> ParameterSet:
    return pytest.param(*(values if isinstance(values, tuple) else (values,)), marks=marks)
