"""The short form of `make fuzz`: parsers given anything raise nothing but their own error."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz
from corpus.bad_messages import BAD_MESSAGES

FRAMES = 30_000
SEED = 20_260_726
# Far above what is measured (some milliseconds and megabytes): it tells hanging from working.
LONGEST_FRAME_S = 10
MAX_GROWTH_BYTES = 128 * 1024 * 1024
ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_parsers_given_mutated_frames_raise_only_their_own_errors_within_bounds() -> None:
    corpus = [case.value for cases in BAD_MESSAGES.values() for case in cases if case.value]
    report = fuzz.run(FRAMES, SEED, corpus)
    assert report.frames == FRAMES + len(corpus)
    assert report.slowest_s < LONGEST_FRAME_S, str(report)
    assert report.peak_growth_bytes < MAX_GROWTH_BYTES, str(report)


@ANY
@given(st.binary(max_size=2000))
def test_parsers_given_any_bytes_raise_only_their_own_errors(data: bytes) -> None:
    for parser in fuzz.PARSERS:
        parser(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
_CHANNELS = ["USDTTMN@trade", "BTCUSDT@buyDepth", "BTCUSDT@sellDepth", "X@trade", "@", ""]
_FIELDS = st.sampled_from(
    ["isBuyOrder", "quantity", "price", "timestamp", "ping", "sid", "result", "markets",
     "latestTrades", "symbol", "base_asset", "quote_asset", "is_spot"]
)  # fmt: skip
_OBJECTS = st.dictionaries(_FIELDS, _JSON | st.lists(st.dictionaries(_FIELDS, _JSON)))


@ANY
@given(
    st.one_of(
        _JSON,
        _OBJECTS,
        st.tuples(st.sampled_from(_CHANNELS), _JSON | _OBJECTS | st.lists(_OBJECTS)),
        st.fixed_dictionaries({"result": _JSON | _OBJECTS}),
    )
)
def test_parsers_given_any_json_raise_only_their_own_errors(value: object) -> None:
    # Python's own encoder writes NaN and lone surrogates as well.
    data = json.dumps(value).encode()
    for parser in fuzz.PARSERS:
        parser(data)
