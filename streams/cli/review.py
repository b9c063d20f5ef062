"""`sightline review`: a person looks at what the assistant got wrong, and says what was meant."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec.structs import astuple

from streams import clock, files, limits
from streams.cli.extending import kinds_option
from streams.cli.names import name
from streams.cli.output import Stores, emit_facts, emit_json, emit_table, json_option, stores_option
from streams.connection.address import broker_option
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events import journal
from streams.events.batch import Batch
from streams.events.codec import codec_of
from streams.events.identity import EventId
from streams.events.kinds import Kinds
from streams.events.record import Outgoing, Received
from streams.events.runs import Run
from streams.extras import require
from streams.kafka.publish import Placed, publish_now
from streams.kafka.reader import read_all
from streams.pipeline import reviewing
from streams.pipeline.reviewing import Tagging
from streams.pipeline.side_inputs import SideInputs
from streams.printing import say
from streams.queries.audit import record_look, who_asks
from streams.queries.review import (
    Outcome,
    Queued,
    Reviewable,
    next_number,
    outcome_of,
    review_stream,
    reviewable,
)
from streams.queries.role import Role
from streams.queries.store import Store
from streams.settings.kafka import Broker
from streams.topology import ANSWERS, CAPTURED
from streams.worker.models import known_models

_COLUMNS = Queued.__struct_fields__
_ROLE = Role("analyst")
#: Rules by which a review is refused because another one has its number.
_TAKEN = frozenset({"collision", "repeat"})
#: What a reviewer types if nobody can tell what was meant; no intent is called so.
_UNCLEAR = "?"
#: After another reviewer took the number first, so many others are tried.
_NUMBERS_TRIED = 5


@click.command("review")
@click.argument("identity", metavar="[ID]", default="")
@stores_option
@broker_option()
@kinds_option
@click.option("--reviewer", default="", help="Who looks: a pseudonym.  [default: the user of this machine]")
@click.option(
    "--unsure-below",
    "percent",
    type=click.IntRange(0, 100),
    default=0,
    help="List answers too of which the model was less sure, in percent.  [default: none]",
)
@click.option(
    "--meant", default="", metavar="INTENT", help="Say here what was meant, instead of being asked."
)
@click.option("--unclear", is_flag=True, help="Nobody can tell what was meant.")
@click.option(
    "--journal",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of journals where a file of the reviewer keeps what was sent, for ledger and replay.",
)
@json_option
def command(
    *,
    identity: str,
    stores: Stores,
    broker: Broker,
    kinds: Kinds,
    reviewer: str,
    percent: int,
    meant: str,
    unclear: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """List answers that a person should look at, or judge the one with this ID (such as g1/answer/17).

    Listed are answers that feedback called wrong without saying what was meant, or both right and wrong,
    answers that a rule withheld, those of the second order of an erasure that the policy holds until then,
    and with --unsure-below those of which the model was not sure; of each device as long as it remembers
    them. What the policy's sink `review` lets nobody look at is counted and
    kept out.

    With ID the words of the query are shown, on a terminal alone, and who looked is recorded before that. The
    answer is not shown: say what was meant. That becomes an event of the device, and an example, if the
    policy permits it.
    """
    require("worker")
    if not identity:
        _list(stores, broker, kinds, percent, as_json=as_json)
        return
    look = _Look(stores, broker, kinds, name("reviewer", reviewer or who_asks()))
    if meant and unclear:
        raise InputError("review: found --meant and --unclear, expected one of them")
    told = bool(meant or unclear)
    if not told and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "review: found no terminal, expected one: words are shown there alone; or name --meant or "
            "--unclear"
        )
    item, query, intents = asyncio.run(look.at(identity))
    if meant and meant not in intents:
        raise InputError(f"--meant: found {meant!r}, expected an intent that the policy lists")
    result = asyncio.run(
        look.judge(item, query, (meant or None) if told else _asked(query, intents), directory)
    )
    if as_json:
        emit_json(result)
    else:
        emit_facts(result)


def _list(stores: Stores, broker: Broker, kinds: Kinds, percent: int, *, as_json: bool) -> None:
    side, unsure = asyncio.run(_known(broker, kinds, percent))
    now_ns = clock.now_ns()
    with Store.open(stores, _ROLE) as store:
        items = reviewable(store, unsure)
    refused = Counter[str]()
    rows = []
    for item in items:
        rule = reviewing.refusing_rule(_stub(item), _tagging(item), side, now_ns)
        if rule:
            refused[rule] += 1
            continue
        rows.append(astuple(Queued.of(item)))
    if as_json:
        listed = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        emit_json({"answers": listed, "kept_out": dict(refused.most_common())})
        return
    if rows:
        emit_table(_COLUMNS, rows)
    else:
        say("there is nothing that a person should look at, or may")
    for rule, count in refused.most_common():
        say(f"kept out: {count:,}, by {rule}", err=True)


async def _known(broker: Broker, kinds: Kinds, percent: int) -> tuple[SideInputs, list[EventId]]:
    """What the topics say, and the answers of which the model was less sure than `percent`."""
    side, _ = await known_models(broker)
    if not percent:
        return side, []
    return side, _unsure(await read_all(broker, ANSWERS), kinds, percent)


def _unsure(records: Sequence[Received], kinds: Kinds, percent: int) -> list[EventId]:
    codec, unsure = codec_of(kinds), list[EventId]()
    for record in records:
        try:
            batch = codec.decode(record.value, record.offset, captured=False)
        except MalformedError:
            continue
        if batch.stream.partition("~")[0] == "answer":
            unsure += [
                EventId(batch.source, batch.stream, number)
                for number, confidence in zip(batch.run, batch.columns["confidence"], strict=True)
                if 100 * confidence < percent
            ]
    return unsure


def _tagging(item: Reviewable) -> Tagging:
    return Tagging(item.zone, bytes.fromhex(item.label), item.policy_version, item.consent)


def _stub(item: Reviewable) -> Batch:
    """The query as the store knows it: without its words."""
    return Batch(
        kind="voice_query",
        source=item.source,
        wearer_id=item.wearer,
        session_id="",
        stream=item.query_stream,
        run=Run(item.number, 1, 1),
        t0_ns=item.t_ns,
        dt_ns=0,
        origin="live",
        context=None,
        columns={},
        position=item.offset,
        appended_ns=item.appended_ns,
    )


def _asked(query: Batch, intents: Sequence[str]) -> str | None:
    """Show the words, and ask what was meant; None if that is unclear."""
    say("")
    say(f"  {query.columns['text'][0]}")
    say("")
    meant = click.prompt(
        f"Which intent was meant ({_UNCLEAR}: unclear)", type=click.Choice([*intents, _UNCLEAR])
    )
    return None if meant == _UNCLEAR else str(meant)


class _Look:
    """One look at an answer by a reviewer."""

    def __init__(self, stores: Stores, broker: Broker, kinds: Kinds, reviewer: str) -> None:
        self._stores, self._broker, self._kinds, self._reviewer = stores, broker, kinds, reviewer

    async def at(self, identity: str) -> tuple[Reviewable, Batch, Sequence[str]]:
        """The answer, its query and the policy's intents, if a person may look now; the look is recorded."""
        answer = _identity(identity)
        side, _ = await known_models(self._broker)
        with Store.open(self._stores, _ROLE) as store:
            items = [item for item in reviewable(store, [answer]) if item.id == str(answer)]
            if not items:
                raise InputError(
                    f"{answer}: found no answer to a query that is shown here and that its device still "
                    "remembers, expected one"
                )
            item = items[0]
            self._permit(item, _stub(item), side)
            of = (item.source, item.query_stream, item.number)
            query = reviewing.query_of(await self._record(item), codec_of(self._kinds), of, item.digest)
            self._permit(item, query, side)
            record_look(store.epochs, self._reviewer, item.query, item.zone)
        return item, query, side.policies.version(side.policies.current).intents

    async def _record(self, item: Reviewable) -> Received:
        """The query's record; InputError if it is no longer there."""
        place, end = {item.partition: item.offset}, {item.partition: item.offset + 1}
        try:
            records = await read_all(
                self._broker, CAPTURED, item.partition, from_offsets=place, until_offsets=end
            )
        except InputError:
            records = []
        if not records:
            raise InputError(
                f"{item.query}: is no longer on {CAPTURED}: its retention is over, or this is another Kafka"
            )
        record: Received = records[0]
        return record

    def _permit(self, item: Reviewable, query: Batch, side: SideInputs) -> None:
        rule = reviewing.refusing_rule(query, _tagging(item), side, clock.now_ns())
        if rule:
            raise InputError(f"{item.id}: nobody may look at its query: {rule}")

    async def judge(
        self, item: Reviewable, query: Batch, meant: str | None, directory: Path | None
    ) -> dict[str, object]:
        """Send the review, if a person still may, and wait for what becomes of it."""
        side, _ = await known_models(self._broker)
        self._permit(item, query, side)
        with Store.open(self._stores) as store:
            number = next_number(store, item.source, review_stream(item.query_stream))
        for tried in range(_NUMBERS_TRIED):
            event = reviewing.review_event(
                query, item.id, self._reviewer, meant, number + tried, clock.now_ns()
            )
            placed = await self._sent(event, item.partition, directory)
            outcome = await self._outcome(event, placed)
            if outcome.rule not in _TAKEN:
                break
        return {
            "review": event.first_id,
            "of": item.id,
            "meant": meant or "unclear",
            "example": outcome.example,
            "why_none": outcome.reason,
        }

    async def _sent(self, event: Batch, partition: int, directory: Path | None) -> Placed:
        """Send a review, and keep it in the reviewer's journal before and after that."""
        record = reviewing.review_record(event, partition)
        path = None if directory is None else directory / f"reviews-{self._reviewer}.jsonl"
        if path is not None:
            _keep(path, journal.sent_line(_line_of(event, record)))
        [placed] = await publish_now(self._broker, [record])
        if path is not None:
            times = (event.t0_ns, clock.now_ns(), placed.appended_ns)
            _keep(path, journal.ack_line(event.first_id, placed.partition, placed.offset, *times))
        return placed

    async def _outcome(self, event: Batch, placed: Placed) -> Outcome:
        """What the pipeline made of a review; UnavailableError if no worker and writer take it in."""
        review = EventId(event.source, event.stream, event.run.first)
        until_s = clock.monotonic_s() + limits.REVIEW_WAIT_S
        while clock.monotonic_s() < until_s:
            with Store.open(self._stores) as store:
                outcome = outcome_of(store, review, placed.partition, placed.offset)
            if outcome is not None:
                return outcome
            await asyncio.sleep(limits.REVIEW_LOOK_S)
        raise UnavailableError(
            f"{event.first_id}: is sent, and after {limits.REVIEW_WAIT_S:.0f} s the store does not have what "
            "became of it; look whether a worker and the store's writer run (`sightline status`)"
        )


def _line_of(event: Batch, record: Outgoing) -> journal.Sent:
    return journal.Sent(
        event.first_id,
        record.key,
        record.value or b"",
        tuple(record.headers),
        record.timestamp_ms,
        event.t0_ns,
        event.stream,
        event.run.first,
        1,
    )


def _identity(text: str) -> EventId:
    try:
        answer = EventId.parse(text)
    except MalformedError as error:
        raise InputError(f"{text}: {error}") from None
    return answer


def _keep(path: Path, line: bytes) -> None:
    files.make_directory(path.parent)
    with files.append(path) as file:
        file.write(line)
