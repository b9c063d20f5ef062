"""Declare the topics of `topology` on a broker, before anything reads or writes them."""

from __future__ import annotations

from aiokafka.admin import NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from streams import limits, topology
from streams.errors import InputError, UnavailableError
from streams.kafka.connection import WAIT_S_DEFAULT, administering

PARTITIONS_MAX = 1024


async def declare(
    broker: str, partitions: int = topology.PARTITIONS_DEFAULT, *, wait_s: float = WAIT_S_DEFAULT
) -> None:
    """Create the topics that are not there yet; leave those that are there as they are.

    Safe to repeat and to race.

    Parameters
    ----------
    broker
        `host:port`.
    partitions
        Partition count of every topic that follows devices; single topics have one.
    wait_s
        Patience with an absent broker, seconds.

    Raises
    ------
    InputError
        A topic exists with another partition count, which is fixed for its life.
    UnavailableError
        The broker is absent or refuses to create a topic.
    """
    if not 1 <= partitions <= PARTITIONS_MAX:
        raise InputError(f"--partitions is {partitions}; expected 1 to {PARTITIONS_MAX}.")

    async with administering(broker, wait_s) as admin:
        wanted = {topic.name: topology.partition_count(topic.name, partitions) for topic in topology.TOPICS}
        response = await admin.create_topics(
            [_new_topic(topic, wanted[topic.name]) for topic in topology.TOPICS]
        )
        created = {str(name): int(code) for name, code, *_ in response.topic_errors}
        for name, code in created.items():
            error = for_code(code)
            if error not in {NoError, TopicAlreadyExistsError}:
                raise UnavailableError(
                    f"The broker {broker} did not create topic {name}: {error.__name__}. Look into its log."
                )
        existing = [name for name, code in created.items() if for_code(code) is TopicAlreadyExistsError]
        if existing:
            for described in await admin.describe_topics(existing):
                _check_count(
                    described["topic"], len(described["partitions"]), wanted[described["topic"]], broker
                )


def _check_count(name: str, found: int, wanted: int, broker: str) -> None:
    if found and found != wanted:
        raise InputError(
            f"Topic {name} on {broker} has {found} partitions, but this start expects {wanted}. The count is "
            f"fixed for the life of a topic: start with --partitions {found}, or use another broker and "
            "drain into new topics."
        )


def _new_topic(topic: topology.Topic, partitions: int) -> NewTopic:
    config = {
        "cleanup.policy": topic.cleanup,
        "max.message.bytes": str(limits.MESSAGE_BYTES_MAX),
        # Event time is the device's; a broker that refuses a clock that runs ahead would lose what it says.
        "message.timestamp.after.max.ms": str(2**63 - 1),
        **topic.config,
    }
    return NewTopic(topic.name, partitions, 1, topic_configs=config)
