"""On a real Kafka: what a label seals is found by its key when a place is erased, and nothing else goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from click.testing import CliRunner, Result
from msgspec import structs

from streams import clock
from streams.cli.main import main
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.record import Outgoing, Seal, StoredRecord
from streams.kafka.publish import publish_now
from streams.kafka.reader import end_offsets, read_all
from streams.kafka.topics import declare
from streams.pipeline.bootstrap import first_records
from streams.pipeline.live import LiveGlasses
from streams.policy.policy import Policy
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed, key_of, unopened
from streams.settings.kafka import KafkaSettings
from streams.snapshots.writer import Writer
from streams.topology import CONSENTS, DERIVED, LINEAGE, ZONED
from streams.worker import erasure
from streams.worker.sealing import labelled_by_key
from tests import build
from tests.snapshots.build import POLICY, record

PREFIX = "sealed-place."
DAY_NS, S_NS = 86_400 * 10**9, 10**9
#: Values of these zones are sealed; what they say of how long it is kept differs, and so do the keys.
OWING = build.sealing("voice-assistant", "device")
Name = tuple[str, str]
#: What is sealed of w1: at home two days, and at the cafe on the day between them.
AT_HOME: frozenset[Name] = frozenset(
    (topic, f"g1/{stream}/{number}")
    for number in (0, 3)
    for topic, stream in ((ZONED, "voice-query"), (DERIVED, "situation"))
)
UNREADABLE = (ZONED, "g1/voice-query/99")
AT_CAFE: frozenset[Name] = frozenset(
    {
        (ZONED, "g1/voice-query/1"),
        (DERIVED, "g1/situation/1"),
        (ZONED, "g1/device-state/0"),
        # Its value is of a kind that this process does not know.
        UNREADABLE,
    }
)
#: On the same glasses, at the cafe too.
OF_ANOTHER: frozenset[Name] = frozenset({(ZONED, "g1/voice-query/2"), (DERIVED, "g1/situation/2")})


def captured(noon_ns: int) -> list[Batch]:
    """What glasses sent on three days."""
    queries = [
        build.query(number, "wake me at seven", noon_ns + at_ns, place=place)
        for number, (at_ns, place) in enumerate(
            ((0, "home"), (DAY_NS, "cafe"), (DAY_NS + 120 * S_NS, "cafe"), (2 * DAY_NS, "home"))
        )
    ]
    queries[2] = structs.replace(queries[2], wearer_id="w2")
    state = build.batch("device_state", None, 0, 1, t0_ns=noon_ns + DAY_NS + 60 * S_NS, place="cafe")
    return [*queries[:2], state, *queries[2:]]


class Installation:
    """Topics of an installation of its own with what was sealed, and a store of its lineage."""

    def __init__(self, broker: str, directory: Path) -> None:
        self.address, self.broker = broker, KafkaSettings(broker, topic_prefix=PREFIX)
        self.keys, self.store = directory / "keys", directory / "store"
        self.older, self.receipt = directory / "older", directory / "receipt.json"
        self.noon_ns = (clock.now_ns() // DAY_NS - 4) * DAY_NS + DAY_NS // 2
        fetches = [build.fetch(captured(self.noon_ns))]
        with contextlib.closing(KeyStore.made(self.keys)) as keys:
            keys.ensure([KeyFor("w5", 30, 1)])
            shutil.copytree(self.keys, self.older)
            core = LiveGlasses(build.followed(OWING), keys=Keys(keys))
            written, _ = build.process(core, fetches)
            plain, _ = build.process(build.core(OWING), fetches)
            written += build.run(Keys(keys).sealed([self._of_an_unknown_kind(written)]))
        self.values = {
            _name(each.topic, each): each.value for each in plain if each.topic in (ZONED, DERIVED)
        }
        self._fill(written)
        # As now: a topic deletes what is older than a day, by the time of its record.
        at_ms = clock.now_ns() // 10**6
        sealed = [
            structs.replace(one, timestamp_ms=at_ms) for one in written if one.topic in (ZONED, DERIVED)
        ]
        asyncio.run(self._published(sealed))

    def _of_an_unknown_kind(self, written: Sequence[Outgoing]) -> Outgoing:
        """What a worker with a package sealed at the cafe, under a key of its own."""
        query = next(one for one in written if _name(one.topic, one) == (ZONED, "g1/voice-query/1"))
        headers = [
            (name, UNREADABLE[1].encode() if name == "ce_id" else value)
            for name, value in query.headers
            if name not in {"content-encoding", "sightline-digest"}
        ]
        return structs.replace(
            query,
            value=b'{"kind":"temple"}',
            headers=headers,
            seal=Seal("w1", 77),
            timestamp_ms=query.timestamp_ms,
        )

    def _fill(self, written: Sequence[Outgoing]) -> None:
        writer = Writer.open(self.store)
        policy = {**POLICY, "version": OWING.version, "name": OWING.name, "text": OWING.text}
        writer.ingest({1: [record(0, {"policies": [policy]}, b"glasses/1")]}, {}, 0)
        lineage = [one for one in written if one.topic == LINEAGE]
        rows = [StoredRecord(at, one.timestamp_ms, one.key, one.value) for at, one in enumerate(lineage)]
        writer.ingest({0: rows}, {}, 0)
        writer.publish(clock.now_ns())
        writer.close()

    async def _published(self, sealed: Sequence[Outgoing]) -> None:
        await declare(self.broker)
        said = [Outgoing(CONSENTS, 0, one.key or b"", one.value, (), 0) for one in build.consent_records()]
        for some in (first_records(OWING, clock.now_ns()), said, sealed):
            await publish_now(self.broker, some)

    def erase(self, *more: str, keys: Path | None = None) -> Result:
        at = ("--broker", self.address, "--topic-prefix", PREFIX, "--keys", str(keys or self.keys))
        asked = ("rights", "erase", "--wearer", "w1", "--scope", "place cafe", "--no-store", *more)
        role = ("--store", str(self.store), "--role", "privacy-officer", "--json")
        return CliRunner().invoke(main, [*asked, *at, *role])

    def found(
        self, wearer: str, policy: Policy = OWING, keys: Path | None = None
    ) -> dict[Name, tuple[bytes, int]]:
        """Value and number of the key of what is found of a wearer."""
        some = asyncio.run(labelled_by_key(self.broker, keys or self.keys, policy, "a test", wearer))
        return {_name(topic, each): (each.value or b"", key) for topic, each, key in some}

    def lying(self) -> dict[Name, ConsumerRecord]:
        """Sealed records as they lie on the topics."""

        async def read() -> dict[Name, ConsumerRecord]:
            return {
                _name(topic, each): each
                for topic in (ZONED, DERIVED)
                for each in await read_all(self.broker, topic)
                if is_sealed(each.headers)
            }

        return asyncio.run(read())

    def readable(self) -> set[Name]:
        """What of them opens, with all keys that are there."""
        lying = self.lying()
        with contextlib.closing(KeyStore(self.keys)) as store:
            keys = Keys(store)
            opened = {name: asyncio.run(keys.opened(name[0], [each]))[0] for name, each in lying.items()}
        return {name for name, each in opened.items() if not unopened(each.headers)}


def _name(topic: str, one: Outgoing | StoredRecord | ConsumerRecord) -> Name:
    return topic, dict(one.headers)["ce_id"].decode()


@pytest.fixture(autouse=True)
def nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs that could still be reading."""
    monkeypatch.setattr(erasure, "ERASURE_SETTLES_S", 0.0)


@pytest.fixture(scope="module")
def at(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(broker, tmp_path_factory.mktemp("sealed-place"))


def test_all_that_lies_sealed_of_a_wearer_is_found_and_nothing_of_another(at: Installation) -> None:
    lying = at.lying()
    assert lying.keys() == AT_HOME | AT_CAFE | OF_ANOTHER
    for wearer, names in (("w1", AT_HOME | AT_CAFE), ("w2", OF_ANOTHER), ("w3", frozenset[Name]())):
        found = at.found(wearer)
        assert found.keys() == names, wearer
        for name in names - {UNREADABLE}:
            assert found[name] == (at.values[name], key_of(lying[name].value).number)
    # What a policy of before owed lies there under the next one.
    assert at.found("w1", build.policy()).keys() == AT_HOME | AT_CAFE


def test_another_key_store_finds_nothing_and_says_so(at: Installation, tmp_path: Path) -> None:
    KeyStore.made(tmp_path / "other").close()
    for keys, says in ((tmp_path / "other", "expected"), (tmp_path / "none", "found no key store")):
        with pytest.raises(InputError, match=says):
            at.found("w1", keys=keys)


def test_a_key_store_that_is_older_than_the_topics_erases_nothing(at: Installation) -> None:
    said = asyncio.run(end_offsets(at.broker, [CONSENTS]))
    result = at.erase(keys=at.older)
    assert result.exit_code != 0
    assert "it is older than the topics. Nothing is erased, bring back the newest one" in result.stderr
    assert asyncio.run(end_offsets(at.broker, [CONSENTS])) == said
    assert at.readable() == AT_HOME | AT_CAFE | OF_ANOTHER


def test_an_erasure_of_a_place_makes_unreadable_what_a_label_sealed_there_and_nothing_else(
    at: Installation,
) -> None:
    lying: Mapping[Name, ConsumerRecord] = at.lying()
    keys = {key_of(lying[name].value).number for name in AT_CAFE}
    assert not keys & {key_of(lying[name].value).number for name in AT_HOME | OF_ANOTHER}
    planned = at.erase("--dry-run")
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    assert (plan["keys"], plan["examples_made_there"], plan["values_unreadable_with_them"]) == (
        len(keys),
        0,
        0,
    )
    assert at.readable() == lying.keys(), "a dry run changes nothing"
    done = at.erase("--receipt", str(at.receipt))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["keys destroyed"] == len(keys)
    assert at.readable() == AT_HOME | OF_ANOTHER
    assert at.found("w1").keys() == AT_HOME
