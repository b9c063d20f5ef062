"""`sightline replay`: the pipeline over journals, into a store of its own.

It also says whether that is what the live one wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from streams import clock, files, settings
from streams.cli.output import emit_json
from streams.connection.address import ADDRESS
from streams.connection.settings import Broker
from streams.errors import InputError
from streams.events import journal as journals
from streams.events.record import Outgoing, Received, StoredRecord
from streams.ledger import lineage
from streams.ledger.result import Comparison
from streams.policy.load import load
from streams.printing import say
from streams.queries.answers import Answer
from streams.replay import Replay
from streams.replay.arrivals import BrokerArrivals, JournalArrivals
from streams.replay.derived import DerivedLines
from streams.replay.inputs import RecordedInputs, read_inputs
from streams.replay.pairs import pairs
from streams.replay.recorded import RecordedReplay
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

#: What is taken into the store in one transaction, whichever comes first: a transaction costs as much as
#: hundreds of small records, and decoded rows take many times the room of their JSON.
_INGEST_RECORDS, _INGEST_BYTES = 200, 8 * 1024 * 1024
#: So many rows wait in the hot file at most: publishing sorts them.
_PUBLISH_ROWS = 500_000
Write = Callable[[Sequence[Outgoing]], None]


@click.command("replay")
@click.argument("journal", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--inputs",
    "recorded",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="STORE",
    help=(
        "Store of the live pipeline: take the recorded inputs (policy, "
        "model take-ups, order of examples) from there."
    ),
)
@click.option(
    "--broker",
    type=ADDRESS,
    help=(
        "With --inputs: take the places of batches from what glasses.captured holds, "
        "not from the acknowledgements."
    ),
)
@click.option(
    "--compare",
    is_flag=True,
    help="With --inputs: compare the lineage with the live store's; exit code 1 when it differs.",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help=(
        f"Directory of the store to make; must be empty or absent.  [default: "
        f"{settings.STORE}; none is kept with --compare]"
    ),
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write what was derived as JSON lines, a file a topic, into a new directory.",
)
@click.option("--policy", help=f"Policy name or TOML file, without --inputs.  [default: {settings.POLICY}]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    journal: Path,
    recorded: Path | None,
    broker: Broker | None,
    store: Path | None,
    out: Path | None,
    policy: str | None,
    *,
    compare: bool,
    as_json: bool,
) -> None:
    """Process what devices once sent (JOURNAL: a file or a directory of them) again, into a new store.

    With --inputs the result is equal to what the live pipeline wrote: same ids, edges, labels and digests.
    Without, a model version serves from the fetch after the one that completed it.
    """
    if recorded is None and (broker or compare):
        raise InputError(
            f"{'--broker' if broker else '--compare'} is given without --inputs, expected both: name the "
            "store that the live pipeline wrote"
        )
    journals.files(journal)
    inputs = None if recorded is None else read_inputs(recorded)
    if inputs is not None and policy is not None and load(policy).version != inputs.policy.version:
        raise InputError(
            f"--policy {policy}: found another policy than {inputs.policy.name} {inputs.policy.version}, "
            f"which is among the recorded inputs of {recorded}; leave --policy out"
        )
    with contextlib.ExitStack() as stack:
        kept = store or settings.STORE
        if compare and store is None:
            kept = stack.enter_context(files.working_directory("replay")) / "store"
        made = _replay(_Job(journal, kept, out, broker or ""), inputs, policy or settings.POLICY)
        result = replace(made, store=None if compare and store is None else str(kept))
        if recorded is not None and compare:
            result = replace(result, lineage=_compared(recorded, kept, made, candidates=bool(broker)))
    if as_json:
        emit_json(result.to_dict())
    else:
        for sentence in _told(result):
            say(sentence)
    context.exit(0 if result.lineage is UNSET or result.lineage["equal"] else 1)


@dataclass(frozen=True, slots=True)
class _Job:
    """Where a replay reads from and what it writes into."""

    journal: Path
    store: Path
    out: Path | None
    broker: Broker


class Replayed(Answer, frozen=True, kw_only=True):
    """What a replay made; `lineage` is how it compares with the live store's.

    `unplaced` batches have no acknowledgement, `foreign` records are no batch of the journals, `lost` ones
    the live pipeline never read, and `unread` are ids of examples that it never trained with. `store` is None
    where none is kept, `epoch` where nothing was published.
    """

    fetches: int
    foreign: int | UnsetType = UNSET
    unplaced: int | UnsetType = UNSET
    lost: int | UnsetType = UNSET
    unread: tuple[str, ...] | UnsetType = UNSET
    records: int = 0
    epoch: int | None = None
    store: str | None = None
    lineage: Comparison | UnsetType = UNSET


def _replay(job: _Job, inputs: RecordedInputs | None, policy: str) -> Replayed:
    """Run the replay into `job.store`."""
    if job.store.exists() and any(job.store.iterdir()):
        raise InputError(
            f"{job.store}: found a directory that is not empty, expected a new one: a replay must not mix "
            "with another store's rows; name another with --store"
        )
    given = load(policy) if inputs is None else inputs.policy
    with contextlib.ExitStack() as stack:
        derived = stack.enter_context(DerivedLines(job.out)) if job.out else None
        sink = stack.enter_context(_sink(job.store))

        def write(records: Sequence[Outgoing]) -> None:
            sink.write(records)
            if derived is not None:
                derived.write(records)

        if inputs is None:
            made = Replayed(fetches=asyncio.run(Replay(given, write).run(job.journal)))
        else:
            made = asyncio.run(_recorded(job, inputs, write))
        sink.flush()
        epoch = sink.writer.settle(clock.now_ns())
    return replace(made, records=sink.written, epoch=epoch)


async def _recorded(job: _Job, inputs: RecordedInputs, write: Write) -> Replayed:
    bound = [] if inputs.paired else pairs(job.journal)
    if job.broker:
        async with BrokerArrivals(job.journal, job.broker) as arrivals:
            replay = RecordedReplay(inputs, arrivals, write, pairs=bound)
            await replay.run()
        return replace(_counted(replay), foreign=arrivals.foreign)
    acknowledged = JournalArrivals(job.journal, inputs.appended)
    replay = RecordedReplay(inputs, acknowledged, write, pairs=bound)
    await replay.run()
    return replace(_counted(replay), unplaced=acknowledged.unplaced)


def _counted(replay: RecordedReplay) -> Replayed:
    return Replayed(fetches=replay.fetches, lost=replay.lost, unread=tuple(sorted(replay.made)))


def _compared(live: Path, replayed: Path, made: Replayed, *, candidates: bool) -> Comparison:
    """Compare the stores; an example that no recorded input names is a difference too."""
    result = lineage.compare(live, replayed, candidates=candidates)
    unread = () if made.unread is UNSET else made.unread
    if unread:
        result["equal"] = False
        result["differences"].append(
            f"inputs: {len(unread):,} examples were made and no recorded input says that training read them: "
            f"{', '.join(unread[: lineage.NAMED_MAX])}"
        )
    return result


def _told(result: Replayed) -> Iterator[str]:
    kept = f"; their lineage is epoch {result.epoch} of {result.store}" if result.store else ""
    yield f"{result.fetches} fetches became {result.records} records{kept}"
    if result.unplaced:
        yield (
            f"places    {result.unplaced:,} batches have no acknowledgement and were left out; if Kafka "
            "holds them, take the places from there with --broker"
        )
    if result.foreign:
        yield (
            f"places    {result.foreign:,} records on glasses.captured are no batch of these journals; "
            "they were taken as they are"
        )
    if result.lost:
        yield f"lost      {result.lost:,} records that the live pipeline never read were left out"
    if result.lineage is not UNSET:
        yield from lineage.lines(result.lineage)


@contextlib.contextmanager
def _sink(store: Path) -> Iterator[_Sink]:
    writer = Writer.open(store)
    try:
        yield _Sink(writer)
    finally:
        writer.close()


class _Sink:
    """Takes what would have gone to Kafka; lineage goes into the store, many records a transaction."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.written, self._count, self._rows, self._bytes = writer, 0, 0, 0, 0
        self._offsets: dict[int, int] = {}
        self._waiting: dict[int, list[Received]] = {}

    def write(self, records: Sequence[Outgoing]) -> None:
        self.written += len(records)
        for record in records:
            if record.topic == LINEAGE:
                offset = self._offsets.get(record.partition, 0)
                self._waiting.setdefault(record.partition, []).append(
                    StoredRecord(offset, record.timestamp_ms, record.key, record.value, record.headers)
                )
                self._offsets[record.partition] = offset + 1
                self._count += 1
                self._bytes += len(record.value or b"")
        if self._count >= _INGEST_RECORDS or self._bytes >= _INGEST_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._rows += self.writer.ingest(self._waiting, self._offsets, clock.monotonic_ns())
            self._waiting, self._count, self._bytes = {}, 0, 0
        if self._rows >= _PUBLISH_ROWS:
            self._rows = 0
            self.writer.publish(clock.now_ns())
