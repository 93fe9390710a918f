"""Numbers as an operator reads them: short, and of even width. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from radar.status.bottleneck import duration
from radar.status.model import Trend

_BARS = "▁▂▃▄▅▆▇█"
NONE = "–"


def count(number: float | None) -> str:
    """Write a count, in at most seven characters."""
    if number is None:
        return NONE
    if abs(number) < 1e6:
        return f"{number:,.0f}"
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if abs(number) >= size:
            return f"{number / size:.2f}{unit}"
    return NONE


def brief(number: float) -> str:
    """Write a count, in at most six characters."""
    return count(number) if number < 1e5 or number >= 1e6 else f"{number / 1000:.0f}k"


def rate(per_s: float | None) -> str:
    """Write a number per second, without the unit."""
    if per_s is None:
        return NONE
    if per_s == 0 or abs(per_s) >= 100:
        return count(per_s)
    return f"{per_s:.1f}"


def age(seconds: float | None) -> str:
    """Write an age or a duration."""
    return NONE if seconds is None else duration(seconds)


def size(size_bytes: float | None) -> str:
    """Write a size."""
    if size_bytes is None:
        return NONE
    for factor, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= factor:
            found = size_bytes / factor
            return f"{found:.0f} {unit}" if found >= 10 else f"{found:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def price(text: str | float | None) -> str:
    """Write a price without the zeros that a fixed number of digits leaves."""
    if text is None:
        return NONE
    # The shortest text of a float is the one that was sent.
    exact = format(Decimal(repr(text)), "f") if isinstance(text, float) else text
    whole, _, part = exact.partition(".")
    part = part.rstrip("0")
    return f"{int(whole):,}" + (f".{part}" if part else "")


def clock(at_s: float) -> str:
    """Write a Unix time as time of day, UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}"


def uptime(seconds: float) -> str:
    """Write for how long a process has run."""
    minutes, second = divmod(int(seconds), 60)
    days, hours = divmod(minutes // 60, 24)
    return (f"{days} d " if days else "") + f"{hours:02}:{minutes % 60:02}:{second:02}"


def trend(judged: Trend | None) -> str:
    """Draw whether a lag grows as an arrow."""
    return {"grows": "↗", "shrinks": "↘"}.get(judged or "", "→")


def spark(values: Sequence[float], width: int) -> str:
    """Draw the newest values as bars, the newest at the right; each bar is a maximum."""
    step = max(1, -(-len(values) // width))
    tops = [max(values[max(0, end - step) : end]) for end in range(len(values), 0, -step)]
    highest = max(tops, default=0)
    scale = (len(_BARS) - 1) / highest if highest else 0.0
    return "".join(_BARS[round(top * scale)] for top in reversed(tops)).rjust(width)
