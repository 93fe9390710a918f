"""Messages evolve: producers and workers of two releases share a topic without dead letters."""

import re
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import pytest

from column_values import plain
from corpus import version_1, version_2
from corpus.bad_messages import LATER_MESSAGES
from radar.checks.rows import read_key
from radar.codec import message_format
from radar.codec.batch_decoder import Columns
from radar.datasets import DATASETS, DEPTH
from radar.errors import InvalidMessage

FROZEN = [
    pytest.param(name, value, id=f"{name}-{n}")
    for name, values in version_1.MESSAGES.items()
    for n, value in enumerate(values)
]
each_frozen = pytest.mark.parametrize(("dataset", "value"), FROZEN)


def grown(dataset: str) -> type[message_format.MessageValue]:
    """Return the struct of a dataset's message with fields that a next release may add."""
    new_fields = [("venue_id", str, ""), ("rank", int, 0), ("proven", bool | None, None)]
    made = msgspec.defstruct("Grown", new_fields, bases=(DATASETS[dataset].message,), frozen=True)
    return cast("type[message_format.MessageValue]", made)


def later(dataset: str, value: bytes) -> bytes:
    """Return the message of a next release for the record of an older message."""
    message = message_format.MessageDecoder(grown(dataset))(value)
    return msgspec.json.encode(
        msgspec.structs.replace(message, venue_id='n"1', rank=7, proven=True)
    )


def fields(message: msgspec.Struct) -> dict[str, Any]:
    return msgspec.to_builtins(message)  # type: ignore[no-any-return]


def same(one: Columns, other: Columns) -> bool:
    return [(c.name, c.type) for c in one] == [(c.name, c.type) for c in other] and plain(
        one
    ) == plain(other)


def test_every_dataset_has_frozen_messages() -> None:
    assert set(version_1.MESSAGES) == set(version_1.STRUCTS) == set(DATASETS)


@each_frozen
def test_frozen_message_is_a_row_to_this_release(dataset: str, value: bytes) -> None:
    assert fields(DATASETS[dataset].decode(value)).items() >= msgspec.json.decode(value).items()
    assert DATASETS[dataset].read_columns([value, value])


@each_frozen
def test_message_of_this_release_is_a_row_to_the_frozen_decoder(dataset: str, value: bytes) -> None:
    written = msgspec.json.encode(DATASETS[dataset].decode(value))
    assert version_1.decode(dataset, written) == version_1.decode(dataset, value)


@each_frozen
def test_added_fields_are_ignored_by_the_frozen_decoder(dataset: str, value: bytes) -> None:
    assert version_1.decode(dataset, later(dataset, value)) == version_1.decode(dataset, value)


@each_frozen
def test_added_fields_are_ignored_by_both_decoders(dataset: str, value: bytes) -> None:
    new = later(dataset, value)
    chosen = DATASETS[dataset]
    assert b"venue_id" in new
    assert chosen.decode(new) == chosen.decode(value)
    for mixed in ([new], [new, value], [value, new, value]):
        assert same(chosen.read_columns(mixed), chosen.read_columns([value] * len(mixed)))


@each_frozen
def test_added_fields_that_are_missing_have_their_defaults(dataset: str, value: bytes) -> None:
    message: Any = message_format.MessageDecoder(grown(dataset))(value)
    assert (message.venue_id, message.rank, message.proven) == ("", 0, None)


@pytest.mark.parametrize("dataset", DATASETS)
def test_fields_that_version_1_lacks_have_defaults(dataset: str) -> None:
    known = set(version_1.STRUCTS[dataset].__struct_fields__)
    for field in msgspec.structs.fields(DATASETS[dataset].message):
        assert field.name in known or not field.required, field.name


@pytest.mark.parametrize(
    ("dataset", "case"),
    [
        pytest.param(dataset, case, id=f"{dataset}-{case.name}")
        for dataset, cases in LATER_MESSAGES.items()
        for case in cases
    ],
)
def test_unknown_member_is_ignored(dataset: str, case: Any) -> None:
    chosen = DATASETS[dataset]
    plain_value = msgspec.json.encode(chosen.decode(case.value))
    for values in ([case.value], [plain_value, case.value, plain_value]):
        assert same(chosen.read_columns(values), chosen.read_columns([plain_value] * len(values)))


@each_frozen
def test_newer_version_is_refused_and_says_to_upgrade(dataset: str, value: bytes) -> None:
    newer = value.replace(b'"v":1', b'"v":3')
    for read in (DATASETS[dataset].decode, lambda each: DATASETS[dataset].read_columns([each])):
        with pytest.raises(InvalidMessage, match="version 3 is newer") as refused:
            read(newer)
        assert refused.value.reason == "schema"
    with pytest.raises(ValueError, match="Invalid enum value 3"):
        version_1.decode(dataset, newer)


@each_frozen
def test_added_fields_do_not_hide_a_fault(dataset: str, value: bytes) -> None:
    new = later(dataset, value)
    faults: list[tuple[bytes, Literal["schema", "json"]]] = [
        (new.replace(b'"source":"wallex"', b'"source":7'), "schema"),
        (new.replace(b'"source":"wallex",', b""), "schema"),
        (new.replace(b'"source":"wallex"', b'"source":"wallex","source":"nobitex"'), "json"),
        (new[:-1] + b',"venue_id":"n2"}', "json"),
    ]
    for fault, reason in faults:
        assert fault != new
        for read in (DATASETS[dataset].decode, lambda each: DATASETS[dataset].read_columns([each])):
            with pytest.raises(InvalidMessage) as refused:
                read(fault)
            assert refused.value.reason == reason


def test_member_that_appears_twice_is_seen_where_a_default_is_missing() -> None:
    # The quotes of the missing member and of the repeated one would make up for each other.
    value = version_1.MESSAGES["gaps"][0].replace(
        b'"received_at_us"', b'"received_at_us":1784000004731002,"received_at_us"'
    )
    with pytest.raises(InvalidMessage) as refused:
        message_format.MessageDecoder(grown("gaps"))(value)
    assert refused.value.reason == "json"


each_packed = pytest.mark.parametrize(("value", "members"), version_2.PACKED)


@each_packed
def test_frozen_packed_snapshot_is_a_row_to_this_release(
    value: bytes, members: dict[str, Any]
) -> None:
    wanted = fields(DEPTH.decode(msgspec.json.encode(members | {"v": 1})))
    assert fields(DEPTH.decode(value)) == wanted
    as_json = msgspec.json.encode(members | {"v": 1})
    for mixed in ([value], [value, as_json], [as_json, value, value]):
        assert same(DEPTH.read_columns(mixed), DEPTH.read_columns([as_json] * len(mixed)))


@each_packed
def test_packed_snapshot_is_readable_as_json(value: bytes, members: dict[str, Any]) -> None:
    as_json = msgspec.json.encode(members | {"v": 1})
    assert msgspec.json.decode(message_format.as_json(value)) == msgspec.json.decode(as_json)
    assert message_format.as_json(as_json) == as_json
    assert read_key(DEPTH, value) == read_key(DEPTH, as_json) is not None


@each_packed
def test_program_of_the_documents_reads_a_packed_snapshot(
    value: bytes, members: dict[str, Any]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    assert {"verified": False} | names["snapshot"](value) == members


@each_packed
def test_packed_snapshot_is_a_dead_letter_to_the_frozen_decoder(
    value: bytes, members: dict[str, Any]
) -> None:
    # Its reason is `schema`, so `radar dlq replay` stores it after the upgrade of the workers.
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 2"):
        version_1.decode("depth", value)


def test_newer_packed_version_says_to_upgrade() -> None:
    value = version_2.PACKED[0][0].replace(b'"v":2', b'"v":3')
    with pytest.raises(InvalidMessage, match="version 3 is newer than this decoder's version 2"):
        DEPTH.decode(value)
