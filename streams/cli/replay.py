"""`sightline replay`: run the pipeline over journals into a new store, and compare it with a live one."""

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
from streams.cli.extending import operators_option
from streams.cli.output import emit_json
from streams.connection.address import broker_option
from streams.consent.erased import Mark
from streams.errors import DamagedError, InputError, UnavailableError
from streams.events import journal as journals
from streams.events.digest import digest, keyed_digest
from streams.events.record import Outgoing
from streams.extras import require
from streams.ledger import lineage
from streams.ledger.result import Comparison
from streams.policy.load import load
from streams.printing import say
from streams.processing.operators import Operators
from streams.queries.answers import Answer
from streams.replay import Replay
from streams.replay.arrivals import BrokerArrivals, JournalArrivals
from streams.replay.derived import DerivedLines
from streams.replay.inputs import RecordedInputs, read_inputs
from streams.replay.known import check_known, journal_kinds
from streams.replay.pairs import pairs
from streams.replay.recorded import RecordedReplay, erasures_in
from streams.replay.stored import stored
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.settings.kafka import Broker

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
@broker_option(
    "With --inputs: take the places of batches from what glasses.captured holds, "
    "not from the acknowledgements.",
    default=None,
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
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --inputs: key store of the live pipeline. Without it the digests of sealed values are not "
    "compared.",
)
@click.option("--policy", help=f"Policy name or TOML file, without --inputs.  [default: {settings.POLICY}]")
@operators_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    journal: Path,
    recorded: Path | None,
    broker: Broker | None,
    store: Path | None,
    out: Path | None,
    keys: Path | None,
    policy: str | None,
    operators: Operators,
    *,
    compare: bool,
    as_json: bool,
) -> None:
    """Process what devices once sent (JOURNAL: a file or a directory of them) again, into a new store.

    With --inputs the result is equal to what the live pipeline wrote: same ids, edges, labels and digests.
    Without, a model version serves from the fetch after the one that completed it.
    """
    require("worker")
    if recorded is None and (broker or compare or keys):
        raise InputError(
            f"{'--broker' if broker else '--compare' if compare else '--keys'} is given without --inputs, "
            "expected both: name the store that the live pipeline wrote"
        )
    journals.files(journal)
    inputs = None if recorded is None else read_inputs(recorded)
    kinds = operators.kinds
    if inputs is None:
        check_known(journal, journal_kinds(journal), kinds)
    elif recorded is not None:
        check_known(recorded, inputs.kinds, kinds)
    if (
        inputs is not None
        and policy is not None
        and load(policy, kinds=kinds).version != inputs.policy.version
    ):
        raise InputError(
            f"--policy {policy}: found another policy than {inputs.policy.name} {inputs.policy.version}, "
            f"which is among the recorded inputs of {recorded}; leave --policy out"
        )
    with contextlib.ExitStack() as stack:
        kept = store or settings.STORE
        if compare and store is None:
            kept = stack.enter_context(files.working_directory("replay")) / "store"
        key_store = None if keys is None else stack.enter_context(contextlib.closing(KeyStore(keys)))
        if key_store is not None and inputs is not None:
            key_store.refuse_foreign(erasures_in(inputs))
        job = _Job(journal, kept, out, broker or "", operators, key_store)
        made = _replay(job, inputs, policy or settings.POLICY)
        result = replace(made, store=None if compare and store is None else str(kept))
        if recorded is not None and compare:
            told = _compared(recorded, kept, made, candidates=bool(broker), sealed=keys is not None)
            result = replace(result, lineage=told, digests_of_sealed=keys is not None)
    if as_json:
        emit_json(result.to_dict())
    else:
        for sentence in _told(result):
            say(sentence)
    context.exit(0 if result.lineage is UNSET or result.lineage["equal"] else 1)


@dataclass(frozen=True, slots=True)
class _Job:
    """Where a replay reads from, what it writes into, and what it knows."""

    journal: Path
    store: Path
    out: Path | None
    broker: Broker
    operators: Operators
    key_store: KeyStore | None

    @property
    def mark(self) -> Mark | None:
        """Of wearers, by which an erasure names them; None if there is no key store."""
        return None if self.key_store is None else self.key_store.mark_of

    def digest(self, wearer: str, value: bytes) -> str:
        """Digest of a sealed value, under the wearer's key unless an erasure destroyed it.

        UnavailableError if the key store does not know it: no record is to blame.
        """
        try:
            key = None if self.key_store is None else self.key_store.digest_key(wearer)
        except DamagedError as error:
            raise UnavailableError(str(error)) from None
        return digest(value) if key is None else keyed_digest(key, value)


class Replayed(Answer, frozen=True, kw_only=True):
    """Result of a replay; `lineage` is the comparison with the live store.

    `unplaced` counts batches without an acknowledgement, `foreign` records that are in no journal, `lost`
    records that the live pipeline never read; `unread` are ids of examples that its training never read.
    `store` is None if the store is not kept, `epoch` is None if nothing was published.
    `digests_of_sealed` says whether the digests of sealed values were compared.
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
    digests_of_sealed: bool | UnsetType = UNSET


def _replay(job: _Job, inputs: RecordedInputs | None, policy: str) -> Replayed:
    """Run the replay into `job.store`."""
    if job.store.exists() and any(job.store.iterdir()):
        raise InputError(
            f"{job.store}: found a directory that is not empty, expected a new one: a replay must not mix "
            "with another store's rows; name another with --store"
        )
    given = load(policy, kinds=job.operators.kinds) if inputs is None else inputs.policy
    with contextlib.ExitStack() as stack:
        derived = stack.enter_context(DerivedLines(job.out)) if job.out else None
        sink = stack.enter_context(stored(job.store, job.operators.kinds))

        def write(records: Sequence[Outgoing]) -> None:
            sink.write(records)
            if derived is not None:
                derived.write(records)

        if inputs is None:
            replay = Replay(given, write, operators=job.operators)
            made = Replayed(fetches=asyncio.run(replay.run(job.journal)))
        else:
            made = asyncio.run(_recorded(job, inputs, write))
        sink.flush()
        epoch = sink.writer.settle(clock.now_ns())
    return replace(made, records=sink.written, epoch=epoch)


async def _recorded(job: _Job, inputs: RecordedInputs, write: Write) -> Replayed:
    bound = [] if inputs.paired else pairs(job.journal)
    if job.broker:
        keys = None if job.key_store is None else Keys(job.key_store)
        async with BrokerArrivals(job.journal, job.broker, keys) as arrivals:
            replay = RecordedReplay(
                inputs,
                arrivals,
                write,
                pairs=bound,
                operators=job.operators,
                digests=job.digest,
                mark=job.mark,
            )
            await replay.run()
        return replace(_counted(replay), foreign=arrivals.foreign)
    acknowledged = JournalArrivals(job.journal, inputs.appended)
    replay = RecordedReplay(
        inputs,
        acknowledged,
        write,
        pairs=bound,
        operators=job.operators,
        digests=job.digest,
        mark=job.mark,
    )
    await replay.run()
    return replace(_counted(replay), unplaced=acknowledged.unplaced)


def _counted(replay: RecordedReplay) -> Replayed:
    return Replayed(fetches=replay.fetches, lost=replay.lost, unread=tuple(sorted(replay.made)))


def _compared(live: Path, replayed: Path, made: Replayed, *, candidates: bool, sealed: bool) -> Comparison:
    """Compare the stores; an example that no recorded input names counts as a difference."""
    unread = () if made.unread is UNSET else made.unread
    return lineage.compare(live, replayed, candidates=candidates, sealed=sealed, unread=unread)


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
    if result.digests_of_sealed is False:
        yield "digests   of sealed values were not compared; --keys names the key store that they need"
    if result.lineage is not UNSET:
        yield from lineage.lines(result.lineage)
