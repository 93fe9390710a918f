"""Currencies: one name for the Iranian ones, and Rial in Toman.

Ten Rial are one Toman. The unit belongs to the channel: an exchange may write IRT and send Rial.
"""

from radar.decimals import canonical

TOMAN = "TMN"
# How exchanges write the Iranian currency, whatever its unit.
_IRANIAN = frozenset(("IRT", "RLS", "IRR", "TMN", "RIAL"))


def unified(name: str) -> str:
    """Return the unified name of a currency: upper case, and TMN for every Iranian one."""
    upper = name.upper()
    return TOMAN if upper in _IRANIAN else upper


def tomans(rials: str) -> str:
    """Return an amount in Rial as canonical text in Toman, exactly.

    Raises:
        ValueError: It is no canonical decimal, or has too many digits.
    """
    whole, _, fraction = canonical(rials).partition(".")
    return canonical(f"{whole[:-1] or '0'}.{whole[-1]}{fraction}")
