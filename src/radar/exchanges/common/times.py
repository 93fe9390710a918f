"""Times of the wire."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_iso_us(text: str) -> int:
    """Return a time in ISO 8601 as Unix time in microseconds; 0 if it is none."""
    try:
        moment = datetime.fromisoformat(text[:64])
    except ValueError:
        return 0
    return 0 if moment.tzinfo is None else (moment - _EPOCH) // _MICROSECOND


def to_iso_s(second: int) -> str:
    """Return a Unix time in whole seconds in ISO 8601, UTC."""
    return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"
