"""Which examples were made of what was captured at a place, by their times, and under which keys they lie."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from streams.consent.erased import ErasedTime, Scope
from streams.events.headers import ENCODING, SINCE
from streams.events.record import StoredRecord
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed
from streams.topology import DERIVED, ZONED
from streams.training import gate
from streams.worker.made_there import MadeThere, made_there
from tests import build
from tests.feedback.test_feedback import T
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.sealing.test_interactions import SPOKEN, on, stored, written
from tests.training.test_rollback import loop

S_NS = 10**9
#: When feedback came, of each of the examples.
AT_NS = build.T0_NS


def _scope(first_ns: int, last_ns: int) -> Scope:
    return Scope(0, 0, "home", (ErasedTime(first_ns, last_ns),))


def _example(nth: int, seconds: int = 10) -> StoredRecord:
    """An example that was made of something of some seconds before its feedback."""
    record: StoredRecord = GOOD_EXAMPLES[nth]
    headers = {**dict(record.headers), SINCE: str(AT_NS - seconds * S_NS).encode()}
    return replace(record, headers=[*headers.items()])


def _made(records: Sequence[tuple[StoredRecord, int]], wearer: str, scope: Scope) -> MadeThere:
    return made_there(records, build.CODEC, wearer, {"g1"}, scope)


def test_an_example_counts_from_the_oldest_that_it_was_made_of_until_its_feedback() -> None:
    record = _example(0)
    batch, *_ = gate.read(record, build.CODEC)
    assert (batch.since_ns, batch.last_ns) == (AT_NS - 10 * S_NS, AT_NS)
    for first, last, counts in (
        (AT_NS - 10 * S_NS, AT_NS - 10 * S_NS, True),
        (AT_NS, AT_NS, True),
        (AT_NS - 5 * S_NS, AT_NS - 4 * S_NS, True),
        (0, AT_NS - 10 * S_NS - 1, False),
        (AT_NS + 1, AT_NS + 9, False),
    ):
        made = _made([(record, 7)], batch.wearer_id, _scope(first, last))
        one = MadeThere(frozenset({batch.first_id}), frozenset({7}), 0)
        assert made == (one if counts else MadeThere())
    whole = _scope(0, AT_NS)
    assert _made([(record, 7)], "another", whole) == MadeThere()
    assert _made([(record, 0)], batch.wearer_id, whole).keys == frozenset(), "it is not sealed"


def test_what_lies_under_the_same_key_and_is_of_elsewhere_is_counted() -> None:
    wearer = gate.read(_example(0), build.CODEC)[0].wearer_id
    hers = [nth for nth in range(12) if gate.read(_example(nth), build.CODEC)[0].wearer_id == wearer]
    first, second, third, *_ = hers
    others = [nth for nth in range(12) if nth not in hers]
    records = [(_example(first), 7), (_example(second, 0), 7), (_example(third, 0), 8)]
    records += [(_example(nth, 0), 7) for nth in others]
    found = _made(records, wearer, _scope(AT_NS - 6 * S_NS, AT_NS - 5 * S_NS))
    assert (len(found.examples), found.keys, found.beside) == (1, frozenset({7}), 1)


@pytest.mark.parametrize(("device", "counts"), [("g1", True), ("g9", False)])
def test_one_that_nobody_can_open_counts_by_its_device_and_its_times(device: str, counts: bool) -> None:
    record = _example(0)
    since_ns = int(dict(record.headers)[SINCE])
    closed = replace(
        record, key=device.encode(), value=None, headers=[*record.headers, (ENCODING, b"erased")]
    )
    at = (since_ns, AT_NS)
    for first, last in ((at[0], at[0]), (at[1], at[1])):
        made = _made([(closed, 7)], "w1", _scope(first, last))
        assert bool(made.examples) == counts
        assert not made.keys
    assert _made([(closed, 7)], "w1", _scope(at[1] + 1000, at[1] + 9000)) == MadeThere()


def _labelled(directory: Path) -> list[tuple[str, StoredRecord, int]]:
    """A query, feedback a second later, and the situation of the query, as if under keys 1, 2 and 3."""
    keys = Keys(KeyStore.made(directory))
    sealed = [
        record
        for topic in (ZONED, DERIVED)
        for record in on(topic, written(SPOKEN, keys))
        if is_sealed(record.headers)
    ]
    opened = [asyncio.run(keys.opened(each.topic, [stored(each)]))[0] for each in sealed]
    return [
        (each.topic, replace(stored(each), value=record.value, headers=record.headers), nth)
        for nth, (each, record) in enumerate(zip(sealed, opened, strict=True), 1)
    ]


def test_the_key_of_what_a_label_had_sealed_goes_by_when_that_was_captured(tmp_path: Path) -> None:
    """A model learns from examples alone, so of these there is no more than the key to destroy."""
    labelled = _labelled(tmp_path / "keys")
    query, feedback, situation = 1, 2, 3

    def there(at_ns: int, wearer: str = "w1") -> MadeThere:
        return made_there([], build.CODEC, wearer, {"g1"}, _scope(at_ns, at_ns), labelled)

    assert there(T) == MadeThere(frozenset(), frozenset({query, situation}))
    assert there(T + S_NS) == MadeThere(frozenset(), frozenset({feedback}))
    assert there(T + 2 * S_NS) == there(T, "w2") == MadeThere()
    labelled = [(topic, record, query) for topic, record, _ in labelled]
    assert there(T) == MadeThere(frozenset(), frozenset({query}), 1)


def test_what_this_process_cannot_read_goes_by_its_headers_until_it_was_appended(tmp_path: Path) -> None:
    later_ms = (T + 5 * S_NS) // 10**6
    labelled = [
        (topic, replace(record, value=b"{}", timestamp=later_ms), key)
        for topic, record, key in _labelled(tmp_path / "keys")
    ]
    [*_, (_, situation, _)] = labelled
    oldest_ns = int(dict(situation.headers)[SINCE].split()[0])
    assert oldest_ns < T
    for at_ns, keys in (
        (oldest_ns - 1, set()),
        (oldest_ns, {3}),
        (T, {1, 3}),
        (T + S_NS, {1, 2, 3}),
        (T + 5 * S_NS, {1, 2, 3}),
        (T + 6 * S_NS, set[int]()),
    ):
        made = made_there([], build.CODEC, "w1", {"g1"}, _scope(at_ns, at_ns), labelled)
        assert made.keys == keys, at_ns - T


def test_a_version_was_taught_by_what_its_manifest_lists_and_by_nothing_else() -> None:
    core, _ = loop()
    versions = core.followed.models.now.versions
    learned = versions[max(versions)].manifest
    source, stream, run = learned.admitted[0]
    made = MadeThere(frozenset({f"{source}/{stream}/{run.first}"}), frozenset(), 0)
    assert made.taught(versions[max(versions)])
    assert not made.taught(versions[1]), "the seed"
    assert not MadeThere(frozenset({"g1/example/99999"})).taught(versions[max(versions)])
