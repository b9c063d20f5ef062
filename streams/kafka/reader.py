"""Read topics without a consumer group: up to the end, or continuously from given offsets.

Delivery: a reader commits nothing. Its positions are offsets of the next record to read. A caller that saves
the positions atomically with the effects of the records processes every committed record exactly once.
Aborted records are not returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams import limits
from streams.connection.connect import WAIT_S_DEFAULT, administering, let_go, reach
from streams.connection.credentials import client_options
from streams.errors import InputError, UnavailableError
from streams.events.record import LogId
from streams.kafka.groups import Commit, commits
from streams.kafka.log_ids import ask
from streams.settings.kafka import Broker, KafkaSettings
from streams.waiting import saying

FETCH_BYTES_MAX = 8 * 1024 * 1024
_POLL_MS = 200


@asynccontextmanager
async def _consumer(
    broker: Broker, wait_s: float, *, committed: bool = True
) -> AsyncIterator[AIOKafkaConsumer]:
    async def start() -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **client_options(broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed" if committed else "read_uncommitted",
            fetch_max_wait_ms=_POLL_MS,
            max_partition_fetch_bytes=limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES,
            fetch_max_bytes=FETCH_BYTES_MAX,
        )
        try:
            await consumer.start()
        except BaseException:
            await let_go(consumer)
            raise
        return consumer

    consumer = await reach(broker, start, wait_s)
    try:
        yield consumer
    finally:
        await let_go(consumer)


async def _partitions(consumer: AIOKafkaConsumer, topic: str, broker: Broker) -> list[TopicPartition]:
    # The public `partitions_for_topic` only knows subscribed topics, and a subscription needs a group.
    name = KafkaSettings.of(broker).wire_name(topic)
    numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(name)
    if not numbers:
        raise UnavailableError(
            f"There is no topic {name} on {broker}. "
            "`sightline worker` or `sightline broker` declares the topics."
        )
    return [TopicPartition(name, number) for number in sorted(numbers)]


async def _uncommitted_ends(
    broker: Broker, tps: Sequence[TopicPartition], wait_s: float
) -> dict[TopicPartition, int]:
    # A read-committed consumer would get the last *stable* offset, which is before any open transaction.
    async with _consumer(broker, wait_s, committed=False) as consumer:
        return dict(await consumer.end_offsets(tps))


async def read_all(
    broker: Broker,
    topic: str,
    partition: int | None = None,
    *,
    from_offsets: Mapping[int, int] | None = None,
    until_offsets: Mapping[int, int] | None = None,
    committed: bool = True,
    wait_s: float = WAIT_S_DEFAULT,
) -> list[ConsumerRecord]:
    """Return the records of `topic` up to its end at the start of the call, in order within each partition.

    The end is the *uncommitted* high watermark. So the call waits for transactions that are open at its start
    (the broker ends abandoned ones), and records that such a transaction hides are not overlooked.

    Parameters
    ----------
    partition
        Only this one; all if None.
    from_offsets
        First offset by partition; the beginning of the log for partitions that it does not name.
    until_offsets
        Offset by partition before which to stop, if that is before the end.
    committed
        False: also the records of open and aborted transactions.
    wait_s
        Patience with an absent broker, seconds.

    Raises
    ------
    InputError
        An offset in `from_offsets` lies outside the log.
    UnavailableError
        The broker or the topic is absent.
    """
    records: list[ConsumerRecord] = []
    await read_through(
        broker,
        topic,
        records.append,
        partition,
        from_offsets=from_offsets,
        until_offsets=until_offsets,
        committed=committed,
        wait_s=wait_s,
    )
    return records


async def read_through(
    broker: Broker,
    topic: str,
    on_record: Callable[[ConsumerRecord], None],
    partition: int | None = None,
    *,
    from_offsets: Mapping[int, int] | None = None,
    until_offsets: Mapping[int, int] | None = None,
    committed: bool = True,
    wait_s: float = WAIT_S_DEFAULT,
) -> None:
    """Like `read_all`, but pass each record to a callback, so that only one read is in memory at once."""
    async with _consumer(broker, wait_s, committed=committed) as consumer:
        every = await _partitions(consumer, topic, broker)
        chosen = [tp for tp in every if partition is None or tp.partition == partition]
        if not chosen:
            raise UnavailableError(
                f"Topic {topic} on {broker} has partitions 0 to {len(every) - 1}, not partition {partition}."
            )
        begin, end = await consumer.beginning_offsets(chosen), await _uncommitted_ends(broker, chosen, wait_s)
        end = {tp: min(end[tp], (until_offsets or {}).get(tp.partition, end[tp])) for tp in chosen}
        consumer.assign(chosen)
        for tp in chosen:
            consumer.seek(
                tp, _checked((from_offsets or {}).get(tp.partition, begin[tp]), begin[tp], end[tp], tp)
            )
        async with saying(f"records of {topic} up to its end; an open transaction hides what is behind it"):
            await _read_to(consumer, end, on_record)


async def _read_to(
    consumer: AIOKafkaConsumer, end: Mapping[TopicPartition, int], on_record: Callable[[ConsumerRecord], None]
) -> None:
    # Compare positions, because the last offsets may be transaction markers, which are never returned.
    while short := [tp for tp in end if await consumer.position(tp) < end[tp]]:
        fetched = await _getmany(consumer, short, _POLL_MS, limits.FETCH_RECORDS_MAX)
        for tp, some in fetched.items():
            for record in some:
                if record.offset < end[tp]:
                    on_record(record)


async def _getmany(
    consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition], timeout_ms: int, max_records: int
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    try:
        return dict(await consumer.getmany(*tps, timeout_ms=timeout_ms, max_records=max_records))
    except OffsetOutOfRangeError as error:
        raise InputError(outside_sentence(error)) from error


def outside_sentence(error: OffsetOutOfRangeError) -> str:
    """Return the sentence for positions that lie outside the broker's log."""
    places = ", ".join(
        f"{tp.topic} partition {tp.partition} offset {offset}" for tp, offset in dict(error.args[0]).items()
    )
    return (
        f"The log does not hold what should be read next ({places}): it was deleted by retention, or this is "
        "another broker's log. Nothing was skipped. "
        "Use the broker that these offsets belong to, or begin with an empty store."
    )


def _checked(offset: int, begin: int, end: int, tp: TopicPartition) -> int:
    if not begin <= offset <= end:
        raise InputError(
            f"Offset {offset} of {tp.topic} partition {tp.partition} lies outside its log, which holds "
            f"{begin} to {end}: it was deleted by retention, or this is another broker's log. Nothing was "
            "skipped. Use the broker that these offsets belong to, or begin with an empty store."
        )
    return offset


class Follower:
    """Follows all partitions of one topic from given offsets, read-committed, without a group.

    Delivery: exactly the committed records, in order within a partition. To resume later, use `positions()`:
    the next offsets to read, after all records that `poll` returned and the transaction markers behind them.

    Parameters
    ----------
    from_offsets
        Next offset by partition; the beginning of the log for partitions that it does not name.
    partitions
        Only these; all if None.
    log_id
        The log that the offsets belong to. It is checked after each poll, so no record of a topic that was
        recreated meanwhile is ever returned. No check if None.
    wait_s
        Patience with an absent broker at `start`, seconds.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        from_offsets: Mapping[int, int] | None = None,
        *,
        partitions: Iterable[int] | None = None,
        log_id: LogId | None = None,
        wait_s: float = WAIT_S_DEFAULT,
    ) -> None:
        self._broker, self._topic, self._wait_s, self._log_id = broker, topic, wait_s, log_id
        self._from = dict(from_offsets or {})
        self._only = None if partitions is None else frozenset(partitions)
        self._context = _consumer(broker, wait_s)
        self._consumer: AIOKafkaConsumer | None = None
        self._tps: list[TopicPartition] = []

    async def start(self) -> None:
        """Connect and seek to the given offsets.

        Raises
        ------
        InputError
            An offset lies outside the log; offsets are never reset silently.
        UnavailableError
            The broker or the topic is absent.
        """
        consumer = await self._context.__aenter__()
        self._consumer = consumer
        try:
            every = await _partitions(consumer, self._topic, self._broker)
            self._tps = [tp for tp in every if self._only is None or tp.partition in self._only]
            begin, end = (
                await consumer.beginning_offsets(self._tps),
                await _uncommitted_ends(self._broker, self._tps, self._wait_s),
            )
            consumer.assign(self._tps)
            for tp in self._tps:
                consumer.seek(tp, _checked(self._from.get(tp.partition, begin[tp]), begin[tp], end[tp], tp))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect. Does nothing if not started."""
        if self._consumer is not None:
            self._consumer = None
            await self._context.__aexit__(None, None, None)

    async def __aenter__(self) -> Follower:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def poll(self, timeout_ms: int, max_records: int) -> dict[int, list[ConsumerRecord]]:
        """Return the available records by partition, at most `max_records`.

        Waits up to `timeout_ms` for the first record. InputError if the topic was recreated meanwhile.
        """
        consumer = self._running()
        fetched = await _getmany(consumer, self._tps, timeout_ms, max_records)
        if fetched and self._log_id is not None and not await self._still(consumer, self._log_id):
            for tp, records in fetched.items():
                consumer.seek(tp, records[0].offset)
            return {}
        return {tp.partition: records for tp, records in fetched.items()}

    async def _still(self, consumer: AIOKafkaConsumer, log_id: LogId) -> bool:
        """Whether the topic's log is still `log_id`; False if the broker does not answer now.

        Ids are never reused, so an id that is unchanged after a read was unchanged during it.
        """
        try:
            ids = await ask(consumer._client, self._broker, [self._topic])
        except KafkaError:
            return False
        if self._topic not in ids:
            return False
        if ids[self._topic].other_than(log_id):
            raise InputError(
                f"{self._topic} on {self._broker} was deleted and made again while it was read: found "
                f"{ids[self._topic]}, expected {log_id}. Nothing was taken of the new one. Start again: "
                "what to do with it is said then"
            )
        return True

    async def positions(self) -> dict[int, int]:
        """Next offset to read by partition."""
        consumer = self._running()
        return {tp.partition: await consumer.position(tp) for tp in self._tps}

    async def end_offsets(self) -> dict[int, int]:
        """Uncommitted high watermark by partition."""
        self._running()
        return {
            tp.partition: offset
            for tp, offset in (await _uncommitted_ends(self._broker, self._tps, self._wait_s)).items()
        }

    async def ends(self) -> dict[int, int]:
        """End of the committed records by partition; UnavailableError if the broker does not answer."""
        try:
            ends = await self._running().end_offsets(self._tps)
        except KafkaError as error:
            raise UnavailableError(
                f"{self._broker} does not say where {self._topic} ends ({type(error).__name__}); tried again"
            ) from error
        return {tp.partition: offset for tp, offset in ends.items()}

    def _running(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise UnavailableError(
                f"The follower of {self._topic} is not started; use it inside `async with`."
            )
        return self._consumer


async def end_offsets(
    broker: Broker, topics: Iterable[str], *, wait_s: float = WAIT_S_DEFAULT
) -> dict[tuple[str, int], int]:
    """Return the uncommitted high watermark by (topic, partition).

    UnavailableError if the broker or a topic is absent.
    """
    kafka = KafkaSettings.of(broker)
    async with _consumer(broker, wait_s, committed=False) as consumer:
        tps = [tp for topic in topics for tp in await _partitions(consumer, topic, broker)]
        ends = await consumer.end_offsets(tps)
        return {(kafka.plain_name(tp.topic), tp.partition): offset for tp, offset in ends.items()}


async def log_bounds(
    broker: Broker, topic: str, *, wait_s: float = WAIT_S_DEFAULT
) -> dict[int, tuple[int, int]]:
    """Return (begin, uncommitted end) of the log by partition.

    UnavailableError if the broker or the topic is absent.
    """
    async with _consumer(broker, wait_s, committed=False) as consumer:
        tps = await _partitions(consumer, topic, broker)
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        return {tp.partition: (begins[tp], ends[tp]) for tp in tps}


async def committed_offsets(
    broker: Broker, group: str, topics: Iterable[str], *, wait_s: float = WAIT_S_DEFAULT
) -> dict[tuple[str, int], int]:
    """Return the next offset of `group` by (topic, partition), whoever committed it.

    Partitions without a commit are left out.
    """
    commits = await committed(broker, group, topics, wait_s=wait_s)
    return {place: commit.offset for place, commit in commits.items()}


async def committed(
    broker: Broker, group: str, topics: Iterable[str], *, wait_s: float = WAIT_S_DEFAULT
) -> dict[tuple[str, int], Commit]:
    """Like `committed_offsets`, and also say whether an agent has committed the offset."""
    kafka = KafkaSettings.of(broker)

    async def ask() -> dict[tuple[str, int], Commit]:
        tps = [
            TopicPartition(kafka.plain_name(topic["topic"]), place["partition"])
            for topic in described
            for place in topic["partitions"]
        ]
        by_place = await commits(admin, broker, group, tps)
        return {(tp.topic, tp.partition): commit for tp, commit in by_place.items()}

    async with administering(broker, wait_s) as admin:
        described = await admin.describe_topics([kafka.wire_name(topic) for topic in topics])
        # Shortly after its start a broker has no coordinator yet.
        return await reach(broker, ask, wait_s)
