"""Declare the topics of `topology` on a broker, before anything reads or writes them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaConnectionError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from streams import limits, topology
from streams.connection.connect import WAIT_S_DEFAULT, administering, reach
from streams.errors import InputError, UnavailableError
from streams.kafka.log_ids import counts
from streams.settings.kafka import Broker, KafkaSettings

log = logging.getLogger(__name__)

PARTITIONS_MAX = 1024
_BYTES = "max.message.bytes"
#: Settings that must be as declared, with the reason: otherwise records could be lost, repeated or misdated.
#: Other differences are only logged.
_REFUSED: Mapping[str, str] = {
    topology.TIMESTAMPS: "nothing may go by a writer's word of the time",
    topology.AHEAD_MS: "nothing may go by a writer's word of the time",
    "cleanup.policy": (
        "what is compacted is read whole by every start, and of what retention removes there too much is gone"
    ),
    _BYTES: "an output must fit whatever a device may send",
}
_ISR = "min.insync.replicas"
_SET_ON_THE_TOPIC = 1  #: source of a configuration entry, as DescribeConfigs gives it


@dataclass(frozen=True, slots=True)
class Differing:
    """A difference between a topic and its declaration; `actual` is empty if the topic is absent."""

    topic: str
    setting: str
    actual: str
    wanted: str


async def declare(
    broker: Broker, partitions: int = topology.PARTITIONS_DEFAULT, *, wait_s: float = WAIT_S_DEFAULT
) -> None:
    """Create the missing topics and check the existing ones, which are never changed.

    Safe to repeat, and to run in several processes at once.

    Parameters
    ----------
    broker
        `host:port`.
    partitions
        Partition count of every topic that is partitioned by device; single topics have one.
    wait_s
        Patience with an absent broker, seconds.

    Raises
    ------
    InputError
        A topic exists with another partition count (which cannot be changed), another cleanup policy, a
        smaller maximum record size, or timestamps of producers where those of the broker are declared.
        Differences in retention or min.insync.replicas are only logged.
    UnavailableError
        The broker is absent or refuses to create a topic.
    """
    if not 1 <= partitions <= PARTITIONS_MAX:
        raise InputError(f"--partitions is {partitions}; expected 1 to {PARTITIONS_MAX}.")

    async with _asking(broker, wait_s) as admin:
        existing = await _created(admin, KafkaSettings.of(broker), topology.TOPICS, partitions)
        await _refuse_uneven(admin, broker, partitions)
        differing = [*await _settings(admin, broker, existing), *await _in_sync(admin, broker, existing)]
        for setting, why in _REFUSED.items():
            _refuse(broker, [each for each in differing if each.setting == setting], why)
        for each in differing:
            log.warning(
                "%s on %s: found %s %s, expected %s; `sightline topics --migrate` changes it",
                each.topic,
                broker,
                each.setting,
                each.actual,
                each.wanted,
            )


@asynccontextmanager
async def _asking(broker: Broker, wait_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client; UnavailableError also if the broker goes away between two requests."""
    try:
        async with administering(broker, wait_s) as admin:
            yield admin
    except KafkaConnectionError as error:
        raise UnavailableError(
            f"The broker {broker} went away while it was asked about its topics; try again when it answers."
        ) from error


def _refuse(broker: Broker, differing: list[Differing], why: str) -> None:
    """InputError that names every topic with the same wrong setting; does nothing if there is none."""
    # Timestamp settings matter only for topics that declare them.
    times = {topology.TIMESTAMPS, topology.AHEAD_MS}
    differing = [
        each
        for each in differing
        if each.setting not in times or each.setting in topology.topic(each.topic).config
        if each.setting != _BYTES or int(each.actual) < int(each.wanted)
    ]
    if not differing:
        return
    first = differing[0]
    names = [each.topic for each in differing if (each.actual, each.wanted) == (first.actual, first.wanted)]
    raise InputError(
        f"{broker}: found {first.setting} {first.actual} on {' and '.join(names)}, expected {first.wanted},"
        f" since {why}; look with `sightline topics --plan`, change it with `sightline topics --migrate`."
    )


async def plan(
    broker: Broker, partitions: int = topology.PARTITIONS_DEFAULT, *, wait_s: float = WAIT_S_DEFAULT
) -> list[Differing]:
    """Return the differences between declared and actual topics; UnavailableError if the broker is absent."""
    async with _asking(broker, wait_s) as admin:
        return await _differing(admin, broker, partitions)


async def migrate(
    broker: Broker, partitions: int = topology.PARTITIONS_DEFAULT, *, wait_s: float = WAIT_S_DEFAULT
) -> list[Differing]:
    """Create missing topics and change settings that differ; return what was changed. Safe to repeat.

    A partition count cannot be changed: if one differs, InputError is raised before anything is changed.
    Existing records keep their timestamps.
    """
    async with _asking(broker, wait_s) as admin:
        differing = await _differing(admin, broker, partitions)
        if any(each.setting == "partitions" and each.actual for each in differing):
            await _refuse_uneven(admin, broker, partitions)
        absent = {each.topic for each in differing if not each.actual}
        await _created(
            admin,
            KafkaSettings.of(broker),
            [each for each in topology.TOPICS if each.name in absent],
            partitions,
        )
        await _set(admin, broker, [each for each in differing if each.topic not in absent])
        return differing


async def _refuse_uneven(admin: AIOKafkaAdminClient, broker: Broker, partitions: int) -> None:
    """InputError that names all topics and their partition counts, if any is not as declared."""
    if wrong := await _uneven(admin, broker, partitions):
        raise InputError(wrong)


async def _uneven(admin: AIOKafkaAdminClient, broker: Broker, partitions: int) -> str:
    actual = await counts(admin._client, broker, [topic.name for topic in topology.TOPICS])
    return topology.uneven(str(broker), actual, partitions)


async def uneven(
    broker: Broker, partitions: int = topology.PARTITIONS_DEFAULT, *, wait_s: float = WAIT_S_DEFAULT
) -> str:
    """Return the sentence about topics with unexpected partition counts; empty if there are none."""
    async with _asking(broker, wait_s) as admin:
        return await _uneven(admin, broker, partitions)


async def _differing(admin: AIOKafkaAdminClient, broker: Broker, partitions: int) -> list[Differing]:
    # Names on the Kafka: one without the prefix is somebody else's, and must not be taken for ours.
    listed, kafka = set(await admin.list_topics()), KafkaSettings.of(broker)
    names = [topic.name for topic in topology.TOPICS]
    absent = [
        Differing(name, "partitions", "", str(topology.partition_count(name, partitions)))
        for name in names
        if kafka.wire_name(name) not in listed
    ]
    existing = [name for name in names if kafka.wire_name(name) in listed]
    return [
        *absent,
        *await _counts(admin, broker, existing, partitions),
        *await _settings(admin, broker, existing),
        *await _in_sync(admin, broker, existing),
    ]


async def _created(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, topics: Iterable[topology.Topic], partitions: int
) -> list[str]:
    """Create topics, and wait until the broker knows them; return the names of those that existed already."""
    wanted = [_new_topic(topic, kafka, topology.partition_count(topic.name, partitions)) for topic in topics]
    if not wanted:
        return []
    response = await admin.create_topics(wanted)
    created = {kafka.plain_name(name): int(code) for name, code, *_ in response.topic_errors}
    for name, code in created.items():
        error = for_code(code)
        if error not in {NoError, TopicAlreadyExistsError}:
            raise UnavailableError(
                f"The broker {kafka} did not create topic {kafka.wire_name(name)}: {error.__name__}. "
                "Look into its log."
            )
    await until_known(admin, kafka, list(created))
    return [name for name, code in created.items() if for_code(code) is TopicAlreadyExistsError]


async def until_known(admin: AIOKafkaAdminClient, broker: Broker, names: list[str]) -> None:
    """Wait until the broker knows topics that were created.

    The controller creates a topic, and a busy broker hears of it later: until then it says that there is
    none. UnavailableError when that takes longer than a client waits for an absent broker.
    """

    async def known() -> None:
        actual = await counts(admin._client, broker, names)
        if not all(actual.get(name) for name in names):
            raise UnknownTopicOrPartitionError

    await reach(broker, known, client_logs=False)


async def _counts(
    admin: AIOKafkaAdminClient, broker: Broker, names: list[str], partitions: int
) -> list[Differing]:
    actual = await counts(admin._client, broker, names) if names else {}
    wanted = {name: topology.partition_count(name, partitions) for name in names}
    return [
        Differing(name, "partitions", str(actual[name]), str(wanted[name]))
        for name in names
        if actual.get(name) and actual[name] != wanted[name]
    ]


async def _settings(admin: AIOKafkaAdminClient, broker: Broker, names: list[str]) -> list[Differing]:
    actual = await _configs(admin, broker, names)
    return [
        Differing(name, setting, actual[name].get(setting, ("", 0))[0], value)
        for name in names
        for setting, value in _config(topology.topic(name)).items()
        if actual[name].get(setting, ("", 0))[0] != value
    ]


async def _in_sync(admin: AIOKafkaAdminClient, broker: Broker, names: list[str]) -> list[Differing]:
    """Differences of topics whose `min.insync.replicas` is less than the number of replicas minus one."""
    kafka = KafkaSettings.of(broker)
    described = await admin.describe_topics([kafka.wire_name(name) for name in names]) if names else []
    replicas = {
        kafka.plain_name(topic["topic"]): min(
            (len(place["replicas"]) for place in topic["partitions"]), default=1
        )
        for topic in described
    }
    described_settings = await _configs(
        admin, broker, [name for name, count in replicas.items() if count > 2]
    )
    return [
        Differing(name, _ISR, settings[_ISR][0], str(replicas[name] - 1))
        for name, settings in described_settings.items()
        if _ISR in settings and int(settings[_ISR][0]) < replicas[name] - 1
    ]


async def _configs(
    admin: AIOKafkaAdminClient, broker: Broker, names: list[str]
) -> Mapping[str, Mapping[str, tuple[str, int]]]:
    """Settings of topics by name, each as (value, source of the value)."""
    if not names:
        return {}
    kafka = KafkaSettings.of(broker)
    asked = [ConfigResource(ConfigResourceType.TOPIC, kafka.wire_name(name)) for name in names]
    return {
        kafka.plain_name(name): {str(entry[0]): (str(entry[1]), int(entry[3])) for entry in entries}
        for response in await admin.describe_configs(asked)
        for _, _, _, name, entries in response.resources
    }


async def _set(admin: AIOKafkaAdminClient, broker: Broker, changes: list[Differing]) -> None:
    """Apply changes, and repeat all other settings of these topics, which AlterConfigs would reset."""
    names = sorted({change.topic for change in changes})
    actual, kafka = await _configs(admin, broker, names), KafkaSettings.of(broker)
    wanted = {
        name: {setting: value for setting, (value, of) in actual[name].items() if of == _SET_ON_THE_TOPIC}
        for name in names
    }
    for change in changes:
        wanted[change.topic][change.setting] = change.wanted
    if not wanted:
        return
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, kafka.wire_name(name), configs)
        for name, configs in wanted.items()
    ]
    for response in await admin.alter_configs(asked):
        for code, message, _, name in response.resources:
            if code:
                raise UnavailableError(f"The broker {broker} did not change topic {name}: {message}.")


def _config(topic: topology.Topic) -> dict[str, str]:
    return {
        "cleanup.policy": topic.cleanup,
        _BYTES: str(limits.MESSAGE_BYTES_MAX),
        # Producers set the timestamps of this topic. A broker whose clock is behind must not refuse them,
        # unless the topic's declaration bounds them because other data is dated by them.
        topology.AHEAD_MS: str(2**63 - 1),
        **topic.config,
    }


def _new_topic(topic: topology.Topic, kafka: KafkaSettings, partitions: int) -> NewTopic:
    config = _config(topic)
    if kafka.min_in_sync is not None:
        config[_ISR] = str(kafka.min_in_sync)
    return NewTopic(kafka.wire_name(topic.name), partitions, kafka.replication_factor, topic_configs=config)
