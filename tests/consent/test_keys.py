"""Keys on `glasses.consents` name no wearer; those of before hold, and compaction brings nothing back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replace_batch

from streams.consent.record import erasure_record, learn_consent, pairing_record, withdrawal_record
from streams.consent.view import Consents
from streams.errors import MalformedError
from streams.events.record import Outgoing, StoredRecord
from streams.topology import CONSENTS
from tests import build
from tests.consent.test_consents import SERVICE, change, core, run

WEARERS, DEVICES = ("anna", "bert"), ("g1", "g2")


def read(records: Sequence[StoredRecord]) -> Consents:
    consents = Consents()
    for record in records:
        learn_consent(consents, record)
    return consents


def log_of(written: Sequence[Outgoing]) -> list[StoredRecord]:
    return [StoredRecord(offset, 1_000 + offset, each.key, each.value) for offset, each in enumerate(written)]


def as_before(record: StoredRecord) -> StoredRecord:
    """The same statement under the key that Sightline gave it before: with the wearer's name."""
    value = orjson.loads(record.value or b"")
    key = (
        f"pairing/{value['pairing']['device']}/{value['pairing']['wearer']}"
        if "pairing" in value
        else f"{value['wearer']}/{value['event']}"
    )
    return replace(record, key=key.encode())


def spoken(wearer: str) -> list[Outgoing]:
    """What is written to the topic when a wearer gives consent on a device, and then less of it."""
    batches = [
        replace_batch(change(1, "Given", SERVICE, event=0), wearer_id=wearer),
        replace_batch(change(2, "Given", "", event=1), wearer_id=wearer),
    ]
    written = run(batches, core(("g1", wearer)))
    return [record for record in written if record.topic == CONSENTS]


def test_no_key_names_a_wearer() -> None:
    word, _ = spoken("anna")
    written = [
        *spoken("anna"),
        pairing_record("g1", "anna", bound=True),
        withdrawal_record("anna", 0),
        erasure_record("ab" * 16, 7),
    ]
    assert all(b"anna" in (record.value or b"") for record in written[:-1])
    assert not any(b"anna" in record.key for record in written)
    assert word.key == b"word/g1/consent-change/0"


def test_what_is_said_of_two_wearers_never_has_one_key() -> None:
    """Compaction keeps the last record of a key, so a key that two shared would lose what one said."""
    written = [withdrawal_record(wearer, 0) for wearer in WEARERS]
    written += [pairing_record("g1", wearer, bound=bound) for wearer in WEARERS for bound in (True, False)]
    assert len({record.key for record in written}) == len(written)


def in_force(consents: Consents) -> object:
    return [
        [consents.words_of(wearer) for wearer in WEARERS],
        [consents.bound(device, wearer, consents.offset) for device in DEVICES for wearer in WEARERS],
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(WEARERS), st.sampled_from(DEVICES), st.sampled_from("wbe"), st.booleans()),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_compaction_brings_no_word_back_whoever_wrote_which_key(
    said: list[tuple[str, str, str, bool]], until: int
) -> None:
    """The first `until` statements were written before; the topic is compacted then, and at the end."""
    written = [
        withdrawal_record(wearer, sum(each[0] == wearer for each in said[:at]))
        if of == "w"
        else pairing_record(device, wearer, bound=of == "b")
        for at, (wearer, device, of, _) in enumerate(said)
    ]
    log = log_of(written)
    log = [*map(as_before, log[:until]), *log[until:]]
    assert in_force(read(log)) == in_force(read(compacted(log)))


def compacted(log: Sequence[StoredRecord]) -> list[StoredRecord]:
    """What Kafka keeps of it: of each key the last record."""
    last = {record.key: record.offset for record in log}
    return [record for record in log if last[record.key] == record.offset]


def test_the_keys_of_before_are_read_and_a_record_without_a_value_says_nothing() -> None:
    log = log_of([pairing_record("g1", "anna", bound=True), *spoken("anna"), withdrawal_record("anna", 0)])
    assert len(read(log).words_of("anna")) == 3
    assert in_force(read(log)) == in_force(read([*map(as_before, log)]))
    gone = [StoredRecord(len(log) + at, 2_000, record.key, None) for at, record in enumerate(log)]
    assert in_force(read([*log, *gone])) == in_force(read(log))
    assert read([*log, *gone]).offset == 2 * len(log)


@pytest.mark.parametrize(
    "key",
    [
        b"word/g1/consent-change/9",
        b"bert/g1/consent-change/0",
        b"word/g1/consent-change/0/" + b"0" * 32,
        b"word",
        b"",
    ],
)
def test_a_word_under_another_key_is_none(key: bytes) -> None:
    [word, _] = log_of(spoken("anna"))
    with pytest.raises(MalformedError, match="its version, status or key is another"):
        read([replace(word, key=key)])


@pytest.mark.parametrize("key", [b"pairing/g2/anna", b"pairing/g1/bert", b"pairing/g1/" + b"0" * 31])
def test_a_pairing_under_another_key_is_none(key: bytes) -> None:
    [bound] = log_of([pairing_record("g1", "anna", bound=True)])
    with pytest.raises(MalformedError, match="its version, status or key is another"):
        read([replace(bound, key=key)])


def test_the_store_of_tests_has_the_keys_of_now() -> None:
    assert not any(b"w1" in (record.key or b"") for record in build.consent_records())
