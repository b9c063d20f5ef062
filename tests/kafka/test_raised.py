"""Topics that somebody changed: one sentence with every topic and its partitions, wherever one looks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_sim.kafka import KafkaLink
from streams import metrics, topology
from streams.cli.main import main
from streams.connection.connect import administering
from streams.errors import InputError, SightlineError
from streams.kafka.log_ids import counts
from streams.kafka.lookout import Lookout
from streams.kafka.topics import declare, migrate
from tests.kafka import world

EVEN = {one.name: topology.partition_count(one.name) for one in topology.TOPICS}


def test_the_sentence_names_every_topic_with_its_count_and_one_thing_to_do() -> None:
    assert topology.uneven("b:1", EVEN, 4) == ""
    assert topology.uneven("b:1", {topology.CAPTURED: 4}, 4) == "", "what is absent is said elsewhere"
    eight = {name: 8 if count == 4 else 1 for name, count in EVEN.items()}
    assert "use --partitions 8" in topology.uneven("b:1", eight, 4)
    mixed = {**EVEN, topology.CAPTURED: 8, topology.MODELS: 2}
    for partitions in (4, 8):
        said = topology.uneven("b:1", mixed, partitions)
        assert all(name in said for name in EVEN)
        assert f"8 on {topology.CAPTURED}" in said
        assert f"2 on {topology.MODELS}" in said
        assert "--partitions" not in said, "no count fits"


def _sentence(text: str) -> str:
    """The sentence about partitions, without what is before it."""
    return text[text.index("Partitions on ") :].strip()


@pytest.mark.kafka
async def test_raised_and_deleted_topics_are_named_by_worker_topics_device_and_broker(
    own_broker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await declare(own_broker)
    await world.raised(own_broker, topology.CAPTURED, 8)
    expected = {count: topology.uneven(own_broker, {**EVEN, topology.CAPTURED: 8}, count) for count in (4, 8)}

    async def said(work: object) -> str:
        with pytest.raises(SightlineError) as raised:
            await work  # type: ignore[misc]
        assert isinstance(raised.value, InputError)
        return str(raised.value)

    for count, sentence in expected.items():
        assert await said(declare(own_broker, count)) == sentence
        assert await said(migrate(own_broker, count)) == sentence
        link = KafkaLink(own_broker, count, ["g1"], lambda *_: None, lambda _: None)
        assert await said(link.start()) == sentence
        await link.close()
    lookout = Lookout(own_broker, 4, [])
    async with administering(own_broker) as admin:
        await lookout.look(admin)
        await lookout.look(admin)
        assert [record.getMessage() for record in caplog.records if record.name.startswith("streams")] == [
            expected[4]
        ], "once"
        assert metrics.read("unread_partitions") == 4
        caplog.clear()
        await admin.delete_topics([topology.ZONED, topology.LINEAGE])
        while {topology.ZONED, topology.LINEAGE} & set(await admin.list_topics()):
            await asyncio.sleep(0.05)
        await lookout.look(admin)
        (deleted,) = [one for one in caplog.messages if "Deleted on" in one]
        assert topology.ZONED in deleted
        assert topology.LINEAGE in deleted
        assert "No worker starts on these topics again" in deleted, "both refuse, as above"
        assert "--migrate" not in deleted
        assert topology.ZONED not in await admin.list_topics()


@pytest.mark.kafka
def test_topics_plan_ends_with_the_same_sentence(own_broker: str) -> None:
    found = CliRunner().invoke(main, ["topics", "--plan", "--broker", own_broker])
    assert found.exit_code == 1
    assert f"8 on {topology.CAPTURED}" in _sentence(found.output)


@pytest.mark.kafka
async def test_what_is_advised_for_deleted_topics_helps(
    own_broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A start of the worker makes them with its own number of partitions; a migration goes by the default."""
    await _without_topics(own_broker)
    await declare(own_broker, 8)
    lookout = Lookout(own_broker, 8, [])
    async with administering(own_broker) as admin:
        await lookout.look(admin)
        await admin.delete_topics([topology.ZONED])
        while topology.ZONED in await admin.list_topics():
            await asyncio.sleep(0.05)
        await lookout.look(admin)
        (deleted,) = [one for one in caplog.messages if "Deleted on" in one]
        assert "Start the worker again: it makes them, empty" in deleted
        assert "--migrate" not in deleted
        with pytest.raises(InputError, match="Partitions on"):
            await migrate(own_broker)
        await declare(own_broker, 8)
        caplog.clear()
        await lookout.look(admin)
        assert await counts(admin._client, own_broker, [topology.ZONED]) == {topology.ZONED: 8}
    assert not [record for record in caplog.records if record.name.startswith("streams")]


async def _without_topics(broker: str) -> None:
    names = {one.name for one in topology.TOPICS}
    async with administering(broker) as admin:
        await admin.delete_topics(sorted(names & set(await admin.list_topics())))
        while names & set(await admin.list_topics()):
            await asyncio.sleep(0.05)
