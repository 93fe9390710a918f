"""The corpus of bad messages: each is refused for its reason, by its kind."""

from collections import Counter

import pytest

from corpus.bad_messages import BAD_MESSAGES, DEPTH_CASES, FOREIGN, TRADE_CASES, Case, depth, trade
from radar.datasets import DATASETS
from radar.errors import InvalidMessage


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}-{case.name}")
        for kind, cases in BAD_MESSAGES.items()
        for case in cases
        if case.value is not None
    ],
)
def test_wire_bad_message_is_refused_with_its_reason(kind: str, case: Case) -> None:
    assert case.value is not None
    with pytest.raises(InvalidMessage) as refused:
        DATASETS[kind].decode(case.value)
    assert refused.value.reason == case.reason, str(refused.value)[:300]
    # The reason travels in a header of the dead letter.
    str(refused.value).encode()


def test_wire_corpus_is_large_and_has_no_case_twice() -> None:
    assert DATASETS["trades"].decode(trade())
    assert DATASETS["depth"].decode(depth())
    for cases in BAD_MESSAGES.values():
        names = Counter(case.name for case in cases)
        values = Counter(case.value for case in cases)
        assert names.most_common(1)[0][1] == 1, names.most_common(3)
        assert values.most_common(1)[0][1] == 1, values.most_common(1)[0]
    distinct = {case.value for case in (*FOREIGN, *TRADE_CASES, *DEPTH_CASES)}
    assert len(distinct) >= 300
