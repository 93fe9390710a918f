"""The listed markets of the simulated exchange: names, reference prices and precisions.

The assets are real ones, since a recorder's trouble with names (`1INCH`, `USDT` as a base, a base
that ends in a quote's name) comes from real ones. Prices only set the order of magnitude.
"""

from dataclasses import dataclass
from math import floor, log10

TOMAN_PER_USDT = 82_000.0
"""Reference rate, of the size seen in a capture of July 2026."""

SIGNIFICANT_DIGITS = {"TMN": 5, "USDT": 7}
"""Digits of a price by quote: captures show 82131 for USDTTMN and 62525.04 for BTCUSDT."""

# Base asset, reference price in USDT, Persian name; the busiest first.
_NAMED: tuple[tuple[str, float, str], ...] = (
    ("BTC", 62_525.0, "بیت کوین"),
    ("ETH", 2_480.0, "اتریوم"),
    ("DOGE", 0.142, "دوج کوین"),
    ("TRX", 0.289, "ترون"),
    ("XRP", 1.92, "ریپل"),
    ("SOL", 141.0, "سولانا"),
    ("TON", 3.1, "تون کوین"),
    ("NOT", 0.0021, "نات کوین"),
    ("SHIB", 0.0000118, "شیبا"),
    ("PEPE", 0.0000072, "پپه"),
    ("ADA", 0.44, "کاردانو"),
    ("BNB", 612.0, "بایننس کوین"),
    ("LTC", 84.0, "لایت کوین"),
    ("BCH", 401.0, "بیت کوین کش"),
    ("DOT", 3.9, "پولکادات"),
    ("AVAX", 19.2, "آوالانچ"),
    ("LINK", 13.4, "چین لینک"),
    ("UNI", 6.7, "یونی سواپ"),
    ("ATOM", 4.2, "کازماس"),
    ("XLM", 0.24, "استلار"),
    ("ETC", 17.9, "اتریوم کلاسیک"),
    ("FIL", 2.4, "فایل کوین"),
    ("NEAR", 2.3, "نیر"),
    ("APT", 4.7, "آپتوس"),
    ("ARB", 0.31, "آربیتروم"),
    ("OP", 0.58, "آپتیمیزم"),
    ("SUI", 2.9, "سویی"),
    ("AAVE", 262.0, "آوه"),
    ("DAI", 1.0, "دای"),
    ("PAXG", 3_312.0, "پکس گلد"),
    ("1INCH", 0.19, "وان اینچ"),
    ("SAND", 0.26, "سندباکس"),
    ("MANA", 0.27, "دیسنترالند"),
    ("AXS", 2.2, "اکسی اینفینیتی"),
    ("GALA", 0.015, "گالا"),
    ("CHZ", 0.037, "چیلیز"),
    ("ALGO", 0.18, "الگورند"),
    ("VET", 0.023, "وی چین"),
    ("HBAR", 0.15, "هدرا"),
    ("ICP", 5.1, "اینترنت کامپیوتر"),
    ("GRT", 0.09, "گراف"),
    ("CRV", 0.53, "کرو"),
    ("COMP", 47.0, "کامپاند"),
    ("MKR", 1_890.0, "میکر"),
    ("SNX", 0.61, "سینتتیکس"),
    ("YFI", 5_080.0, "یرن فایننس"),
    ("ZEC", 38.0, "زی کش"),
    ("DASH", 20.1, "دش"),
    ("EOS", 0.52, "ایاس"),
    ("XTZ", 0.53, "تزوس"),
    ("FLOKI", 0.0000797, "فلوکی"),
    ("BONK", 0.0000147, "بونک"),
    ("HMSTR", 0.0019, "همستر"),
    ("CATI", 0.08, "کتیزن"),
    ("DOGS", 0.00014, "داگز"),
    ("W", 0.067, "ورم هول"),
    ("S", 0.32, "سونیک"),
    ("BTTC", 0.00000062, "بیت تورنت"),
    ("XAUT", 3_305.0, "تتر گلد"),
)

# Further bases, quiet ones. Their Persian names are transliterations; no code depends on them.
_QUIET = """
ACH AGIX AGLD AIOZ AKT ALICE ALPHA ANKR APE API3 AR ARKM ASTR ATA AUDIO AXL BAL BAND BAT BEAM
BICO BIGTIME BLUR BNT BLZ BOME BRETT C98 CAKE CELO CELR CFX CKB COTI CTSI CVC CVX CYBER DENT
DEXE DIA DODO DYDX DYM EGLD EIGEN ENA ENJ ENS ETHFI ETHW FET FLOW FLUX FORTH FTM FXS GAL GAS
GLM GLMR GMT GMX GNO GODS GTC HIGH HNT HOOK ID ILV IMX INJ IOST IOTA IOTX JASMY JOE JST JTO
JUP KAS KAVA KDA KLAY KNC KSM LDO LEVER LOKA LPT LQTY LRC LSK LUNC MAGIC MASK MAV MBOX MEME
METIS MINA MOVR MTL MYRO NEO NEXO NFP NKN NMR OCEAN OGN OM OMG ONDO ONE ONT ORDI OSMO OXT
PENDLE PEOPLE PERP PHA PIXEL POL POLYX PORTAL POWR PYTH QNT QTUM RAD RARE RAY RDNT REEF REI
REN REQ RIF RLC RNDR RON ROSE RPL RSR RUNE RVN SATS SC SEI SFP SKL SLP SPELL SSV STG STORJ
STRK STX SUN SUPER SUSHI SXP SYN T THETA TIA TLM TRB TRU TURBO TUSD TWT UMA UNFI USDC VIC
VOXEL WAVES WIF WLD WOO XAI XCH XDC XEC XEM XNO XVG YGG ZETA ZIL ZK ZRO ZRX
"""

MAX_SYMBOLS = 400
"""The most markets the simulated exchange lists; the real one has 150 to 400."""


@dataclass(frozen=True, slots=True)
class MarketListing:
    """One market as the exchange lists it.

    Attributes:
        symbol: Name on the wire, base and quote together: `BTCUSDT`.
        base: Base asset.
        quote: Quote asset, `TMN` or `USDT`.
        fa_base: Persian name of the base asset.
        price: Reference price in the quote asset, the anchor the model returns to.
        price_precision: Decimals of a price, as the exchange lists them.
        amount_precision: Decimals of a quantity.
        is_spot: False for the over-the-counter markets, which a recorder leaves alone.
        tick_places: One tick is `10 ** -tick_places`; -1: as `price_precision`.
        lot_places: One lot is `10 ** -lot_places`; -1: as `amount_precision`.
    """

    symbol: str
    base: str
    quote: str
    fa_base: str
    price: float
    price_precision: int
    amount_precision: int
    is_spot: bool = True
    tick_places: int = -1
    lot_places: int = -1

    def __post_init__(self) -> None:
        """Fill in the places that are not given."""
        if self.tick_places < 0:
            object.__setattr__(self, "tick_places", self.price_precision)
        if self.lot_places < 0:
            object.__setattr__(self, "lot_places", self.amount_precision)

    @property
    def product_places(self) -> int:
        """Decimals of ticks times lots."""
        return self.tick_places + self.lot_places


def listings(symbols: int) -> list[MarketListing]:
    """List spot markets, half of them quoted in TMN, and two that are not spot.

    Args:
        symbols: Number of spot markets, 1 to 400.

    Returns:
        The spot markets, busiest first and quotes alternating, then the two others.

    Raises:
        ValueError: If `symbols` is out of range.
    """
    if not 1 <= symbols <= MAX_SYMBOLS:
        raise ValueError(f"symbols must lie in 1..{MAX_SYMBOLS}, got {symbols}")
    assets = [
        *_NAMED,
        # Quiet assets get prices from 0.02 to 40 USDT, by position and so without chance.
        *((base, 0.02 * 2 ** (i % 12), f"رمزارز {base}") for i, base in enumerate(_QUIET.split())),
    ]
    toman = [_listing("USDT", 1.0, "تتر", "TMN"), *(_listing(*asset, "TMN") for asset in assets)]
    tether = [_listing(*asset, "USDT") for asset in assets]
    alternating = [market for pair in zip(toman, tether, strict=False) for market in pair]
    return [
        *alternating[:symbols],
        _listing("GOLD18", 105.0, "طلای ۱۸ عیار", "TMN", is_spot=False),
        _listing("SILVER", 1.1, "نقره", "TMN", is_spot=False),
    ]


def _listing(
    base: str, usdt: float, fa_base: str, quote: str, *, is_spot: bool = True
) -> MarketListing:
    price = usdt * TOMAN_PER_USDT if quote == "TMN" else usdt
    magnitude = floor(log10(price))
    return MarketListing(
        symbol=base + quote,
        base=base,
        quote=quote,
        fa_base=fa_base,
        price=price,
        price_precision=max(0, SIGNIFICANT_DIGITS[quote] - 1 - magnitude),
        # BTC trades in 0.000001 and USDT in 0.01: two digits finer than the value of one unit.
        amount_precision=max(0, min(8, floor(log10(usdt)) + 2)),
        is_spot=is_spot,
    )
