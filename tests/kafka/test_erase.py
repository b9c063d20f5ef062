"""Erasures of somebody unknown, with the wrong keys, twice, by a clock that is off; no worker runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams import clock
from streams.cli.main import main
from streams.consent.record import pairing_record
from streams.errors import UnavailableError
from streams.kafka.publish import publish_now
from streams.kafka.reader import end_offsets, read_all
from streams.kafka.topics import declare
from streams.models.registry import ModelTable
from streams.models.withdrawn import Withdrawn
from streams.pipeline.bootstrap import first_records
from streams.sealing.erasures import Requested, Step
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore, day_of
from streams.settings.kafka import KafkaSettings
from streams.topology import CONSENTS, MODELS
from streams.worker import erasure, erasure_models
from streams.worker.models import known_models
from tests import build
from tests.training.test_rollback import loop

PREFIX = "erase."
YEAR_NS = 365 * 86_400 * 10**9


class Place:
    """Topics of an installation of its own, on which versions serve that learned from wearers."""

    def __init__(self, broker: str, directory: Path) -> None:
        self.address, self.broker = broker, KafkaSettings(broker, topic_prefix=PREFIX)
        self.directory, self.keys = directory, directory / "keys"
        core, written = loop()
        serving = core.followed.models.now
        [knowing] = serving.version(serving.serving).manifest.wearers
        self.wearers = [knowing, "w8", "w9", "w7"]
        self.models = [one for one in written if one.topic == MODELS]
        asyncio.run(self._published())

    async def _published(self) -> None:
        await declare(self.broker)
        await publish_now(self.broker, first_records(build.policy(), clock.now_ns()))
        await publish_now(self.broker, self.models)
        pairs = [pairing_record(f"d-{wearer}", wearer, bound=True) for wearer in self.wearers]
        await publish_now(self.broker, pairs)

    def erase(self, wearer: str, *more: str, keys: Path | None = None) -> Result:
        where = ("--broker", self.address, "--topic-prefix", PREFIX, "--no-store")
        key_store = ("--keys", str(keys or self.keys), "--json")
        receipt = () if "--receipt" in more else ("--receipt", str(self.directory / "receipt.json"))
        words = ["rights", "erase", "--wearer", wearer, *where, *key_store, *receipt, *more]
        return CliRunner().invoke(main, words)

    def said(self) -> int:
        """How much stands on the topic of what erasures say."""
        return sum(asyncio.run(end_offsets(self.broker, [CONSENTS])).values())

    def serving(self) -> int:
        side, _ = asyncio.run(known_models(self.broker))
        return side.models.serving

    def rows(self) -> list[dict[str, Any]]:
        result = CliRunner().invoke(main, ["rights", "show", "--keys", str(self.keys), "--json"])
        return list(json.loads(result.stdout)["erasures"])


@pytest.fixture(autouse=True)
def nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs that could still be reading."""
    monkeypatch.setattr(erasure, "ERASURE_SETTLES_S", 0.0)


@pytest.fixture(scope="module")
def place(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(broker, tmp_path_factory.mktemp("erase"))
    with contextlib.closing(KeyStore.made(made.keys)) as keys:
        keys.ensure([KeyFor(wearer, 30, day_of(clock.now_ns())) for wearer in made.wearers])
    return made


def test_a_misspelt_name_erases_nothing(place: Place) -> None:
    said = place.said()
    result = place.erase("nobody")
    assert result.exit_code == 2
    assert "found no pairing, word or key of that name, expected one whom the topics know" in result.stderr
    assert place.said() == said
    assert place.rows() == []


def test_without_the_key_store_nothing_is_done(place: Place, tmp_path: Path) -> None:
    said = place.said()
    result = place.erase(place.wearers[0], keys=tmp_path / "none")
    assert result.exit_code == 2
    assert "found no key store, expected the one under whose keys the topics are sealed" in result.stderr
    assert not (tmp_path / "none").exists()
    assert place.said() == said


def test_it_is_finished_while_no_worker_runs_and_another_model_serves_before_keys_go(place: Place) -> None:
    wearer, before = place.wearers[0], place.serving()
    result = place.erase(wearer)
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert (done["state"], done["keys destroyed"]) == ("finished", 1)
    assert done["model versions withdrawn"] > 0
    assert place.serving() == 1 < before
    side, _ = asyncio.run(known_models(place.broker))
    with contextlib.closing(KeyStore(place.keys)) as keys:
        [finished] = keys.erasures.all()
        assert keys.count_of(wearer) == 0
    assert side.models.rollback is not None
    assert side.models.rollback.at_ns < finished.steps["unreadable"].at_ns, (
        "nobody waits for it with old answers"
    )


def test_what_is_left_of_the_versions_says_so_and_nothing_goes_back_to_them(place: Place) -> None:
    """The last records of the topic, as compaction leaves them, and as a worker finds them that starts."""
    named = f'"{place.wearers[0]}"'.encode()
    knew = {record.key for record in place.models if named in (record.value or b"")}
    last = {each.key: each.value or b"" for each in asyncio.run(read_all(place.broker, MODELS))}
    assert knew
    assert {key for key, value in last.items() if Withdrawn.begins(value)} == knew
    assert not [key for key, value in last.items() if named in value]
    side, _ = asyncio.run(known_models(place.broker))
    compacted = ModelTable()
    for key, value in last.items():
        compacted.learn(key, value)
    assert sorted(compacted.now.withdrawn) == sorted(side.models.withdrawn) == [2, 3, 4]
    assert (compacted.now.serving, compacted.now.highest) == (side.models.serving, 4)
    where = ("--broker", place.address, "--topic-prefix", PREFIX, "--keys", str(place.keys))
    result = CliRunner().invoke(main, ["models", "rollback", "--to", "4", "--why", "better", *where])
    assert result.exit_code == 2
    assert "model version 4: was withdrawn, because it learned from somebody who was erased" in result.stderr


def test_a_second_one_is_another_erasure_and_changes_nothing_of_the_first(place: Place) -> None:
    [first] = place.rows()
    result = place.erase(place.wearers[0])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["keys destroyed"] == 0
    assert place.rows()[0] == first
    assert len(place.rows()) == 2


def test_a_training_run_that_ends_during_it_lets_nobody_be_answered_by_what_it_made(place: Place) -> None:
    """The run read the wearer's examples before; its versions come between two steps, and serve."""
    promoted = list[Step]()

    def promote(of: Requested) -> None:
        if of.next_step in ("models", "finished"):
            promoted.append(of.next_step)
            # In a thread of its own, as the erasure's loop waits for this call.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, publish_now(place.broker, place.models)).result()

    receipt = place.directory / "during-a-run.json"
    where = erasure_models.Place(place.broker, place.keys, build.CODEC, None, receipt)
    with contextlib.closing(KeyStore(place.keys)) as keys:
        asyncio.run(erasure.erase_wearer(where, keys, place.wearers[0], promote))
    assert promoted == ["models", "finished"]
    assert place.serving() == 1


def test_another_key_store_is_refused_and_writes_nothing(place: Place, tmp_path: Path) -> None:
    KeyStore.made(tmp_path / "other").close()
    said = place.said()
    result = place.erase(place.wearers[1], keys=tmp_path / "other")
    assert result.exit_code == 2
    assert "because this one cannot tell whose it is; name it with --keys" in result.stderr
    assert place.said() == said
    with contextlib.closing(KeyStore(tmp_path / "other")) as other:
        assert other.erasures.all() == []


def test_a_receipt_that_cannot_be_written_is_written_by_the_next_attempt(
    place: Place, tmp_path: Path
) -> None:
    absent = tmp_path / "absent" / "receipt.json"
    failed = place.erase(place.wearers[1], "--receipt", str(absent))
    assert failed.exit_code != 0
    *_, left = place.rows()
    assert left["state"] == "before finished"
    said = place.said()
    absent.parent.mkdir()
    assert place.erase(place.wearers[1], "--receipt", str(absent)).exit_code == 0
    *_, finished = place.rows()
    assert (finished["erasure"], finished["state"]) == (left["erasure"], "finished")
    assert finished["stopped"] == left["stopped"]
    assert place.said() == said, "it is stated once"
    assert absent.exists()


def test_a_clock_that_was_set_back_moves_no_erasure_and_its_receipt_is_valid(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is erased ends at the broker's time; this machine dates the other steps."""
    now_ns = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: now_ns() - YEAR_NS)
    receipt = tmp_path / "receipt.json"
    assert place.erase(place.wearers[2], "--receipt", str(receipt)).exit_code == 0
    with contextlib.closing(KeyStore(place.keys)) as keys:
        finished = min(keys.erasures.all(), key=lambda each: each.steps["requested"].at_ns)
    assert finished.steps["requested"].at_ns < finished.steps["stopped"].at_ns - YEAR_NS // 2
    assert finished.steps["stopped"].at_ns > now_ns() - YEAR_NS // 2
    result = CliRunner().invoke(main, ["rights", "verify", str(receipt), "--keys", str(place.keys), "--json"])
    assert result.exit_code == 0, result.output


def test_a_full_disk_destroys_no_key_in_part_and_the_next_attempt_goes_on(
    place: Place, tmp_path: Path
) -> None:
    """The disk is full when the keys are to be destroyed, after the erasure was stated."""
    wearer, receipt = place.wearers[3], tmp_path / "receipt.json"
    where = erasure_models.Place(place.broker, place.keys, build.CODEC, None, receipt)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(of: Requested) -> None:
        if of.next_step == "unreadable":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))

    with contextlib.closing(KeyStore(place.keys)) as keys:
        try:
            with pytest.raises(UnavailableError, match="cannot be used now"):
                asyncio.run(erasure.erase_wearer(where, keys, wearer, fill))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert keys.count_of(wearer) == 1
    [left] = [row for row in place.rows() if row["state"] != "finished"]
    assert left["state"] == "before unreadable"
    said = place.said()
    result = place.erase(wearer, "--receipt", str(receipt))
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert (done["erasure"], done["state"], done["keys destroyed"]) == (left["erasure"], "finished", 1)
    assert place.said() == said, "it is stated once"
