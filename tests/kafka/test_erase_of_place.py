"""An erasure of a place on topics and in a store: what goes, what stays, interrupted, for a bystander."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from streams import clock
from streams.cli.main import main
from streams.events.record import Fetch, Outgoing, Received, Seal, StoredRecord
from streams.kafka.publish import publish_now
from streams.kafka.reader import end_offsets
from streams.kafka.topics import declare
from streams.pipeline.bootstrap import first_records
from streams.pipeline.live import LiveTraining
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.settings.kafka import KafkaSettings
from streams.snapshots.writer import Writer
from streams.topology import CONSENTS, EXAMPLES, LINEAGE, MODELS
from streams.worker import erasure
from streams.worker.models import known_models
from streams.worker.on_topics import consents_of_topic
from tests import build
from tests.hostile.test_cores import no_fit
from tests.snapshots.build import POLICY, record
from tests.snapshots.contents import ask

PREFIX = "erase-place."
DAY_NS, MINUTE_NS = 86_400 * 10**9, 60 * 10**9
#: Where she asked in which minute. A version is made after every fourth of the examples.
PLACES = ("street",) * 8 + ("cafe", "cafe", "street", "street")


class Life:
    """Twelve questions of a wearer with their feedback, a minute apart, and what was made of them.

    They begin an hour before now, if no time is given.
    """

    def __init__(self, directory: Path, began_ns: int = 0) -> None:
        self.began_ns = began_ns or clock.now_ns() // 10**9 * 10**9 - 60 * MINUTE_NS
        captured = [
            one
            for nth, place in enumerate(PLACES)
            for at_ns in (self.began_ns + nth * MINUTE_NS,)
            for one in (
                build.query(nth, "wake me at seven", at_ns, place=place),
                build.feedback(nth, f"g1/answer/{nth}", "alarm_set", at_ns + 10**9, place=place),
            )
        ]
        written, _ = build.process(build.core(), [build.fetch(captured)])
        self.examples = [
            StoredRecord(at, each.timestamp_ms, each.key, each.value, tuple(each.headers))
            for at, each in enumerate(one for one in written if one.topic == EXAMPLES)
        ]
        self.store = directory / "store"
        writer = Writer.open(self.store)
        writer.ingest({1: [record(0, {"policies": [POLICY]}, b"glasses/1")]}, {}, 0)
        lineage = [one for one in written if one.topic == LINEAGE]
        rows = [StoredRecord(at, one.timestamp_ms, one.key, one.value) for at, one in enumerate(lineage)]
        writer.ingest({0: rows}, {}, 0)
        writer.publish(clock.now_ns())
        writer.close()
        self.models = self._trained()

    def _trained(self) -> list[Outgoing]:
        async def history(offset: int) -> Sequence[Received]:
            return self.examples[: offset + 1]

        core, written = LiveTraining(build.followed(), history, no_fit, 4), list[Outgoing]()
        state = core.empty(0)
        for at in range(0, len(self.examples), 4):
            outcome = build.step(core, state, Fetch(EXAMPLES, 0, self.examples[at : at + 4]))
            state, written = outcome.state, [*written, *outcome.outputs]
            build.learn_models(core.followed, outcome.outputs)
        return [one for one in written if one.topic == MODELS]

    def sealed(self, keys: KeyStore) -> list[Outgoing]:
        """The examples as a worker seals them: the first eight on the day before."""
        outputs = [
            Outgoing(
                EXAMPLES,
                0,
                each.key or b"",
                each.value,
                list(each.headers),
                (clock.now_ns() - (DAY_NS if at < 8 else 0)) // 10**6,
                Seal("w1", 30),
            )
            for at, each in enumerate(self.examples)
        ]
        made = build.run(Keys(keys).sealed(outputs))
        return [structs.replace(each, timestamp_ms=clock.now_ns() // 10**6) for each in made]


class Installation:
    """Topics of an installation of its own, with a life on them."""

    def __init__(self, broker: str, directory: Path) -> None:
        self.address, self.broker = broker, KafkaSettings(broker, topic_prefix=PREFIX)
        self.directory, self.keys = directory, directory / "keys"
        self.life = Life(directory)
        with contextlib.closing(KeyStore.made(self.keys)) as keys:
            sealed = self.life.sealed(keys)
        asyncio.run(self._published(sealed))

    async def _published(self, sealed: Sequence[Outgoing]) -> None:
        await declare(self.broker)
        said = [Outgoing(CONSENTS, 0, one.key or b"", one.value, (), 0) for one in build.consent_records()]
        for some in (first_records(build.policy(), clock.now_ns()), said, sealed, self.life.models):
            await publish_now(self.broker, some)

    def ask(self, *words: str) -> Result:
        where = ("--broker", self.address, "--topic-prefix", PREFIX, "--no-store", "--keys", str(self.keys))
        return CliRunner().invoke(
            main, [*words, *where, "--store", str(self.life.store), "--role", "privacy-officer", "--json"]
        )

    def erase(self, scope: str, *more: str) -> Result:
        return self.ask("rights", "erase", "--wearer", "w1", "--scope", scope, *more)

    def stated(self) -> int:
        return sum(asyncio.run(end_offsets(self.broker, [CONSENTS])).values())

    def serving(self) -> int:
        side, _ = asyncio.run(known_models(self.broker))
        return side.models.serving

    def apply(self) -> None:
        """Let the writer of the store read the erasures, as `sightline snapshots` does."""
        consents = asyncio.run(consents_of_topic(self.broker))
        with contextlib.closing(KeyStore(self.keys)) as keys:
            writer = Writer.open(self.life.store)
            writer.erase(consents.erasures(), keys.mark_of, clock.now_ns())
            writer.close()


@pytest.fixture(autouse=True)
def nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs that could still be reading."""
    monkeypatch.setattr(erasure, "ERASURE_SETTLES_S", 0.0)


@pytest.fixture(scope="module")
def at(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(broker, tmp_path_factory.mktemp("erase-place"))


def test_the_dry_run_says_the_stay_and_all_that_goes_and_changes_nothing(at: Installation) -> None:
    stated, serving = at.stated(), at.serving()
    result = at.erase("place cafe", "--dry-run")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    began = datetime.fromtimestamp((at.life.began_ns + 8 * MINUTE_NS) / 1e9, UTC)
    assert plan["scope"] == "place cafe"
    [(first, last)] = plan["stays"]
    assert (datetime.fromisoformat(first), last > first) == (began, True)
    assert (plan["keys"], plan["examples_made_there"]) == (1, 2)
    assert plan["values_unreadable_with_them"] == 2
    assert (plan["model_versions_that_learned_from_it"], plan["serves"], plan["would_serve"]) == ("4", 4, 3)
    assert plan["rows"]["events"] > 0
    assert (at.stated(), at.serving()) == (stated, serving)


def test_a_place_where_she_never_was_changes_nothing_and_says_where_she_was(at: Installation) -> None:
    stated = at.stated()
    result = at.erase("place clinic")
    assert result.exit_code == 2
    assert "found no stay of w1 there, expected one of cafe, street; nothing was changed" in result.stderr
    assert at.stated() == stated


def test_it_is_interrupted_goes_on_and_takes_what_is_of_the_place_alone(
    at: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(ask(at.life.store, "SELECT id, kind FROM event_records WHERE NOT kind = 'model'"))
    receipt = at.directory / "absent" / "receipt.json"
    failed = at.erase("place cafe", "--receipt", str(receipt))
    assert failed.exit_code != 0, "its receipt cannot be written"
    at.apply()
    # Now the store has no stay there any more: it goes on with what was written down.
    receipt.parent.mkdir()
    result = at.erase("place cafe", "--receipt", str(receipt))
    assert result.exit_code == 0, result.output
    done: dict[str, Any] = json.loads(result.stdout)
    assert (done["state"], done["scope"], done["keys destroyed"]) == ("finished", "place cafe", 1)
    assert (done["model versions withdrawn"], at.serving()) == (1, 3)
    consents = asyncio.run(consents_of_topic(at.broker))
    assert [word.status for word in consents.words_of("w1") if not word.device] == [], "nothing is withdrawn"
    after = dict(ask(at.life.store, "SELECT id, kind FROM event_records WHERE NOT kind = 'model'"))
    gone = {each for each in before if each.rsplit("/", 1)[1] in {"8", "9"} and each.startswith("g1/")}
    assert gone
    assert after == {each: kind for each, kind in before.items() if each not in gone}
    with contextlib.closing(KeyStore(at.keys)) as keys:
        assert keys.count_of("w1") >= 1, "that of the day before"
    verified = CliRunner().invoke(main, ["rights", "verify", str(receipt), "--keys", str(at.keys), "--json"])
    assert verified.exit_code == 0, verified.output


def test_for_a_bystander_all_who_were_there_then_lose_what_is_of_that_time(at: Installation) -> None:
    times = [
        datetime.fromtimestamp((at.life.began_ns + minute * MINUTE_NS) / 1e9, UTC).isoformat()
        for minute in (0, 2)
    ]
    queries = "SELECT DISTINCT id FROM event_records WHERE kind = 'voice_query' ORDER BY id"
    before = {each for (each,) in ask(at.life.store, queries)}
    asked = ("rights", "bystander", "--place", "street", "--from", times[0], "--until", times[1])
    planned = at.ask(*asked, "--dry-run")
    assert planned.exit_code == 0, planned.output
    [row] = json.loads(planned.stdout)["wearers"]
    assert (row["wearer"], row["stays"], row["keys"], row["examples"]) == ("w1", 1, 1, 3)
    # The key of that day seals eight examples.
    assert row["values beside"] == 5
    result = at.ask(*asked, "--receipts", str(at.directory))
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert done["scope"].startswith("place street from ")
    assert Path(done["receipt"]).parent == at.directory
    at.apply()
    gone = {f"g1/voice-query/{nth}" for nth in range(3)}
    assert {each for (each,) in ask(at.life.store, queries)} == before - gone
    again = at.ask(*asked, "--dry-run")
    assert again.exit_code == 2
    assert "found no wearer who was there then" in again.stderr
