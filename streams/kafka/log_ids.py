"""Which log a topic's offsets belong to: the ids of cluster and topic, asked from the broker.

aiokafka supports metadata requests up to version 5. Topic ids came with version 10 (Kafka 2.8), so that
version is defined here with aiokafka's protocol classes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from typing import Any, TypeAlias

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from streams import clock
from streams.connection.connect import WAIT_S_DEFAULT, administering, reach
from streams.errors import UnavailableError
from streams.events.record import LogId
from streams.settings.kafka import Broker, KafkaSettings

log = logging.getLogger(__name__)

#: A new topic may not yet be known to the broker that is asked.
_NEW_TOPIC_WAIT_S = 2.0
_UUID_BYTES = 16
#: Error codes to retry: the topic is new, or its leader is changing.
_PASSING = frozenset({5, 9})
_NO_ID = bytes(_UUID_BYTES)


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    """A UUID as sixteen raw bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        value = data.read(_UUID_BYTES)
        if len(value) != _UUID_BYTES:
            raise ValueError("Buffer underrun decoding a UUID")
        return value


_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class _MetadataResponse10(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                ("partitions", CompactArray(*_PARTITION)),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest10(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


_Structs: TypeAlias = MetadataRequest_v5 | _MetadataRequest10


class _MetadataRequest(Request[_Structs]):  # type: ignore[misc]
    """Metadata request that never creates a topic."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_Structs]) -> _Structs:
        if request_struct_class is MetadataRequest_v5:
            return MetadataRequest_v5(self._topics, False)
        return _MetadataRequest10([(_NO_ID, topic, {}) for topic in self._topics], False, False, False, {})


async def log_ids(
    broker: Broker, topics: Iterable[str], *, wait_s: float = WAIT_S_DEFAULT
) -> dict[str, LogId]:
    """Return the id of each topic's log.

    A part of the id is empty if the broker does not give it: for topics made before Kafka 2.8, and on brokers
    that only support the protocol of an earlier version.

    Raises
    ------
    UnavailableError
        The broker or a topic is absent.
    """
    names = list(topics)
    async with administering(broker, wait_s) as admin:
        deadline_s = clock.monotonic_s() + _NEW_TOPIC_WAIT_S
        ids = await reach(broker, lambda: ask(admin._client, broker, names), wait_s)
        while ids.keys() != set(names) and clock.monotonic_s() < deadline_s:
            await asyncio.sleep(_NEW_TOPIC_WAIT_S / 20)
            ids = await reach(broker, lambda: ask(admin._client, broker, names), wait_s)
    absent = [name for name in names if name not in ids]
    if absent:
        raise UnavailableError(
            f"There is no topic {KafkaSettings.of(broker).wire_name(absent[0])} on {broker}. "
            "`sightline worker` or `sightline broker` declares the topics."
        )
    if not all(log_id.cluster and log_id.topic for log_id in ids.values()):
        _say_unknown(broker)
    return ids


async def ask(client: AIOKafkaClient, broker: Broker, topics: list[str]) -> dict[str, LogId]:
    """Ask for log ids over the connection of `client`; topics that do not exist are left out.

    KafkaError if the broker does not answer, or if the answer for a topic is an error that may pass.
    """
    answer = await _answer(client, broker, topics)
    return {topic["topic"]: _log_id(answer, topic) for topic in answer["topics"] if not topic["error_code"]}


async def counts(client: AIOKafkaClient, broker: Broker, topics: list[str]) -> dict[str, int]:
    """Return the number of partitions by topic; errors and missing topics as in `ask`."""
    answer = await _answer(client, broker, topics)
    return {topic["topic"]: len(topic["partitions"]) for topic in answer["topics"] if not topic["error_code"]}


async def _answer(client: AIOKafkaClient, broker: Broker, topics: list[str]) -> dict[str, Any]:
    kafka = KafkaSettings.of(broker)
    request = _MetadataRequest([kafka.wire_name(topic) for topic in topics])
    answer: dict[str, Any] = (await client.send(client.get_random_node(), request)).to_object()
    for topic in answer["topics"]:
        topic["topic"] = kafka.plain_name(topic["topic"])
        if topic["error_code"] in _PASSING:
            raise for_code(topic["error_code"])
    return answer


@cache
def _say_unknown(broker: Broker) -> None:
    """Log a warning, once per process and broker."""
    log.warning(
        "The broker %s gives no ids of its topics (it, or they, are older than Kafka 2.8): a topic that is "
        "deleted and made again cannot be told from the one before; begin with an empty store after that",
        broker,
    )


def _log_id(answer: dict[str, Any], topic: dict[str, Any]) -> LogId:
    uuid = topic.get("topic_id", _NO_ID)
    # In the notation of Kafka's own tools.
    name = "" if uuid == _NO_ID else base64.urlsafe_b64encode(uuid).rstrip(b"=").decode()
    return LogId(answer["cluster_id"] or "", name)
