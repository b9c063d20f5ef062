"""What is sealed is compared with the keys, and without them it is told what nobody could compare."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from streams import clock, ledger
from streams.cli.main import main
from streams.errors import DamagedError, UnavailableError
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.journal import Sent, ack_line, sent_line
from streams.events.record import Outgoing, Seal, StoredRecord
from streams.ledger import run_ledger
from streams.ledger.compare import topic_counts
from streams.ledger.journal import read_journals
from streams.ledger.lineage import compare
from streams.ledger.result import Ledger
from streams.ledger.sealed import Sealed
from streams.ledger.sources import StoreReader
from streams.ledger.topics import read_topics
from streams.pipeline.live import LiveGlasses
from streams.policy.policy import Policy
from streams.replay.stored import stored
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed
from streams.topology import CAPTURED, DERIVED, EXAMPLES, LINEAGE, ZONED
from tests import build
from tests.sealing.test_interactions import SPOKEN, WORDS, day

HOME = build.sealing("voice-assistant", "home-private")


@dataclass
class Life:
    """What a device sent, what a worker wrote of it, and the key store."""

    path: Path
    batches: Sequence[Batch]
    written: Sequence[Outgoing]
    keys: KeyStore

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def store(self) -> Path:
        return self.path / "store"

    def ledger(self, keys: KeyStore | None = None) -> Ledger:
        return run_ledger(self.journal, None, self.store, keyring=Keys(keys) if keys else None)

    def topics(
        self,
        monkeypatch: pytest.MonkeyPatch,
        keys: KeyStore | None = None,
        change: Callable[[list[Outgoing]], object] = lambda _: None,
    ) -> tuple[Sealed, list[str]]:
        """Compare the topics of this life, with a change, as the ledger does."""
        records = [replace(each) for each in self.written]
        change(records)

        async def on_topic(_broker: str, topic: str, _erased: object) -> AsyncIterator[Any]:
            for offset, each in enumerate(record for record in records if record.topic == topic):
                at = StoredRecord(offset, each.timestamp_ms, each.key, each.value, each.headers)
                yield Placed(at, each.partition)
            if topic == CAPTURED:
                for record in build.fetch(self.batches).records:
                    yield Placed(record, 0)

        async def nothing(*_: object) -> dict[int, tuple[int, int]]:
            return {}

        monkeypatch.setattr(ledger.topics, "_records", on_topic)
        monkeypatch.setattr(ledger.topics, "log_bounds", nothing)
        monkeypatch.setattr(ledger.topics, "Follower", NoLineage)
        reader, findings = StoreReader(self.store), list[str]()
        try:
            sealed = Sealed.of(reader, Keys(keys) if keys else None)
            topics = read_topics("nowhere:9", sealed=sealed)
            topic_counts(read_journals(self.journal), topics, reader, findings)
        finally:
            reader.close()
        return sealed, [each for each in findings if "glasses.rejected" not in each]


class Placed:
    """A record with its partition, as a client reads it."""

    def __init__(self, record: Any, partition: int) -> None:
        self._record, self.partition = record, partition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


class NoLineage:
    """A topic without records."""

    def __init__(self, *_: object) -> None: ...
    async def __aenter__(self) -> NoLineage:
        return self

    async def __aexit__(self, *_: object) -> None: ...
    async def end_offsets(self) -> dict[int, int]:
        return {}

    async def positions(self) -> dict[int, int]:
        return {}


def life(path: Path, policy: Policy, batches: Sequence[Batch] = ()) -> Life:
    batches, keys = batches or day(), KeyStore.made(path / "keys")
    core = LiveGlasses(build.followed(policy), keys=Keys(keys))
    written, _ = build.process(core, [build.fetch(batches)], core.empty(0))
    with stored(path / "store") as sink:
        first = [each for each in build.first_records_of(policy) if each.topic == LINEAGE]
        sink.write([*first, *written])
        sink.flush()
        sink.writer.settle(clock.now_ns())
    (path / "journal").mkdir()
    (path / "journal" / "g1.jsonl").write_bytes(
        b"".join(
            sent_line(sent(each)) + ack_line(each.first_id, 0, at, each.t0_ns, each.t0_ns, each.t0_ns)
            for at, each in enumerate(batches)
        )
    )
    return Life(path, batches, written, keys)


def sent(each: Batch) -> Sent:
    about = (each.stream, each.run.first, each.run.count)
    return Sent(each.first_id, b"g1", encode(each), tuple(envelope(each)), 0, each.t0_ns, *about)


@pytest.fixture
def spoken(tmp_path: Path) -> Life:
    return life(tmp_path, SPOKEN)


def test_with_the_keys_all_bytes_are_compared(spoken: Life) -> None:
    result = spoken.ledger(spoken.keys)
    assert result["clean"], result["findings"]
    assert (result["sealed"]["events_compared"], result["sealed"]["events_by_number"]) == (2, 0)
    assert "sealed    2 events compared by keyed digests" in ledger.lines(result)


def test_without_them_it_is_told_that_numbers_alone_were_compared(spoken: Life) -> None:
    result = spoken.ledger()
    assert result["clean"], result["findings"]
    assert (result["sealed"]["events_compared"], result["sealed"]["events_by_number"]) == (0, 2)
    [line] = [line for line in ledger.lines(result) if line.startswith("sealed")]
    assert line == "sealed    2 events were compared by their numbers alone, not by what they hold"


def test_where_nothing_is_sealed_nothing_is_told_of_it(tmp_path: Path) -> None:
    plain = life(tmp_path, build.policy(), [build.imu(1.2, 0, 20)])
    result = plain.ledger(plain.keys)
    assert result["clean"], result["findings"]
    assert not any(result["sealed"].values())
    assert not any(line.startswith("sealed") for line in ledger.lines(result))


@pytest.mark.parametrize("fault", ["other words", "another number"])
def test_what_was_sealed_and_not_sent_is_found_with_the_keys(spoken: Life, fault: str) -> None:
    path = spoken.journal / "g1.jsonl"
    text = path.read_bytes()
    assert WORDS.encode() in text
    if fault == "other words":
        path.write_bytes(text.replace(WORDS.encode(), b"wake me at eight"))
        assert spoken.ledger()["clean"], "nobody without the keys can tell"
        missing, _ = spoken.ledger(spoken.keys)["findings"]
        assert "that other data have, so they are missing: g1/voice-query/7" in missing
    else:
        path.write_bytes(
            text.replace(b"g1/voice-query/7", b"g1/voice-query/8").replace(b'"first":7', b'"first":8')
        )
        for keys in (None, spoken.keys):
            assert any("stored and no journal knows" in each for each in spoken.ledger(keys)["findings"])


def test_parts_of_a_split_batch_that_are_sealed_are_what_was_sent(tmp_path: Path) -> None:
    whole = build.imu(1.2, 0, 20, changes=[(12, build.context(place="street"))])
    split = life(tmp_path, HOME, [whole])
    for keys, compared in ((split.keys, 12), (None, 0)):
        result = split.ledger(keys)
        assert result["clean"], result["findings"]
        assert result["sealed"]["events_compared"] == compared
        assert result["sealed"]["events_by_number"] == 12 - compared


def test_a_wearer_who_was_erased_is_told_and_an_unknown_key_is_an_error(spoken: Life, tmp_path: Path) -> None:
    KeyStore.made(tmp_path / "other")
    with pytest.raises(DamagedError, match="Nothing is erased"):
        spoken.ledger(KeyStore(tmp_path / "other"))
    spoken.keys.erasures.request("w1", spoken.keys.mark_of("w1"), 1)
    spoken.keys.erase("w1", 2)
    result = spoken.ledger(spoken.keys)
    assert result["clean"], result["findings"]
    assert (result["sealed"]["events_compared"], result["sealed"]["events_by_number"]) == (0, 2)


def test_records_on_topics_are_opened_and_compared(spoken: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, findings = spoken.topics(monkeypatch, spoken.keys)
    assert findings == []
    assert (sealed.opened, sealed.closed, sealed.destroyed) == (4, 0, 0)
    sealed, findings = spoken.topics(monkeypatch)
    assert findings == []
    assert (sealed.opened, sealed.closed, sealed.destroyed) == (0, 4, 0)


@pytest.mark.parametrize("topic", [ZONED, DERIVED, EXAMPLES])
def test_a_record_that_holds_something_else_is_found_with_the_keys(
    spoken: Life, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    def other(records: list[Outgoing]) -> None:
        """Who has the keys seals other words for the same place, under the digest of the right ones."""
        at = next(at for at, each in enumerate(records) if each.topic == topic and is_sealed(each.headers))
        plain = replace(
            records[at], headers=[each for each in records[at].headers if each[0] != "content-encoding"]
        )
        forged = replace(plain, value=b'{"wearer_id":"w1"}', seal=wanted(records[at]))
        [records[at]] = build.run(Keys(spoken.keys).sealed([forged]))

    assert spoken.topics(monkeypatch, change=other)[1] == []
    [finding] = spoken.topics(monkeypatch, spoken.keys, other)[1][:1]
    assert f"1 records of {topic} hold something else than an agent wrote under their ids" in finding


def wanted(record: Outgoing) -> Seal:
    label = bytes.fromhex(dict(record.headers)["sightline-label"].decode().partition(":")[2])
    return Seal("w1", SPOKEN.retention_days(label))


def test_a_value_that_was_put_elsewhere_is_found_with_the_keys(
    spoken: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(records: list[Outgoing]) -> None:
        one, two = (at for at, each in enumerate(records) if each.topic == ZONED and is_sealed(each.headers))
        records[one], records[two] = (
            replace(records[one], value=records[two].value),
            replace(records[two], value=records[one].value),
        )

    assert spoken.topics(monkeypatch, change=swap)[1] == []
    assert any(
        "2 records of glasses.zoned hold" in each for each in spoken.topics(monkeypatch, spoken.keys, swap)[1]
    )


def test_records_without_a_key_are_told_and_one_of_an_unknown_key_is_an_error(
    spoken: Life, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(spoken.path / "keys", tmp_path / "older")
    older = KeyStore(tmp_path / "older")
    older._file.file.execute("DELETE FROM keys")
    with pytest.raises(UnavailableError, match="older than the topics"):
        spoken.topics(monkeypatch, older)
    spoken.keys.erasures.request("w1", spoken.keys.mark_of("w1"), 1)
    spoken.keys.erase("w1", 2)
    sealed, findings = spoken.topics(monkeypatch, spoken.keys)
    assert findings == []
    assert (sealed.opened, sealed.closed, sealed.destroyed) == (0, 0, 4)


def replayed(of: Life, *options: str) -> Any:
    arguments = ["replay", str(of.journal), "--inputs", str(of.store), "--compare", *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize("changes", [(), [(12, build.context(place="street"))]])
def test_a_replay_repeats_keyed_digests_with_the_keys_and_leaves_them_out_without(
    tmp_path: Path, changes: Any
) -> None:
    whole = build.imu(1.2, 0, 20, changes=changes)
    lived = life(tmp_path, HOME, [whole, build.query(7, WORDS, build.T0_NS + 10**9)])
    told = replayed(lived, "--keys", str(tmp_path / "keys"))
    assert (told.exit_code, "; equal" in told.stdout) == (0, True), told.output
    told = replayed(lived)
    assert (told.exit_code, "of sealed values were not compared" in told.stdout) == (0, True), told.output
    lived.keys._file.file.execute("DELETE FROM digest_keys")
    told = replayed(lived, "--keys", str(tmp_path / "keys"))
    assert (told.exit_code, "Nothing is erased" in told.stderr) == (3, True), told.output


def test_what_is_not_sealed_is_compared_without_the_keys_too(spoken: Life, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = life(tmp_path / "other", SPOKEN, [build.imu(3.0, 0, 20), *day()[1:]])
    result = compare(spoken.store, other.store, sealed=False)
    differ = {each.split(" ")[1]: "digest" in each for each in result["differences"]}
    # The situation shows another activity, in other words of another length.
    assert differ == {"g1/imu-right/0": True, "g1/activity/0": True, "g1/situation/7": False}
