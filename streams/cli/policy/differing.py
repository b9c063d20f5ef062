"""`sightline policy diff`: which decisions another policy would make otherwise."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import click
import orjson
from msgspec import Struct, field, to_builtins

from streams import limits
from streams.cli.extending import operators_option
from streams.cli.output import emit_facts, emit_hidden, emit_json, emit_table, json_option, role_option
from streams.events.record import Outgoing
from streams.extras import require
from streams.policy.diff import DecidedRun, Groups, on_paper, over_runs
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.printing import say
from streams.processing.operators import Operators
from streams.queries.answers import Answer
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import LINEAGE

ROWS_SHOWN = 40
_DECIDED = """SELECT DISTINCT name, version FROM policies
WHERE version IN (SELECT policy_version FROM decisions)"""


class EventsRow(Struct, frozen=True):
    """A run of events of one stream."""

    source: str
    stream: str
    first: int
    step: int
    count: int


class Way(Struct, frozen=True):
    """One way in which decisions differ.

    `count` is in events, on paper in combinations; `kinds` are those of the events, or how many if many.
    """

    sink: str
    zone: str
    new_zone: str = field(name="new zone")
    verdict: str
    new_verdict: str = field(name="new verdict")
    new_rule: str = field(name="new rule")
    count: int
    kinds: int | tuple[str, ...]
    events: tuple[EventsRow, ...]


class Unjudged(Struct, frozen=True):
    """How many of what could not be judged, in a sentence."""

    count: int
    reason: str


class Differing(Answer, frozen=True, kw_only=True):
    """What two policies, each by name and version, decide otherwise."""

    old: str
    new: str


class OnPaper(Differing, frozen=True, kw_only=True):
    """Of every combination of attributes: where the zones differ, and where the verdicts."""

    combinations: int
    zones: tuple[Way, ...]
    flows: tuple[Way, ...]


class OverJournals(Differing, frozen=True, kw_only=True):
    """Of all decisions about what devices sent."""

    decided: int = field(name="decisions about events")
    flows: tuple[Way, ...]


class OverStore(Differing, frozen=True, kw_only=True):
    """Of the decisions that a store holds and the role is shown, with the policies that made them."""

    epoch: int
    decided_by: tuple[str, ...] = field(name="decided by")
    decided: int = field(name="decisions about events")
    not_judged: tuple[Unjudged, ...] = field(name="not judged")
    flows: tuple[Way, ...]
    role: str
    hidden: Mapping[str, str]


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option(
    "--over",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    metavar="STORE|JOURNAL",
    help=(
        "Real traffic: a published store, or a directory of devices' journals.  [default: "
        "on paper, every combination]"
    ),
)
@role_option
@click.option("--exit-code", is_flag=True, help="Exit code 1 if anything differs.")
@operators_option
@json_option
def diff(
    old: str,
    new: str,
    over: Path | None,
    role: Role,
    exit_code: bool,
    operators: Operators,
    as_json: bool,
) -> None:
    """Say what policy NEW decides otherwise than policy OLD: on paper, or over real traffic.

    Of a store, over the decisions that the role is shown.
    """
    before, after = (load(name, kinds=operators.kinds) for name in (old, new))
    answer = _on_paper(before, after) if over is None else _over(over, role, before, after, operators)
    if as_json:
        emit_json(answer.to_dict())
    else:
        _say(answer)
    zones = answer.zones if isinstance(answer, OnPaper) else ()
    sys.exit(1 if exit_code and (zones or answer.flows) else 0)


def _name(policy: Policy) -> str:
    return f"{policy.name} {policy.version}"


def _on_paper(before: Policy, after: Policy) -> OnPaper:
    count, zones, flows = on_paper(before, after)
    return OnPaper(
        old=_name(before), new=_name(after), combinations=count, zones=_ways(zones), flows=_ways(flows)
    )


def _over(
    over: Path, role: Role, before: Policy, after: Policy, operators: Operators
) -> OverStore | OverJournals:
    if os.path.lexists(over / "catalog.duckdb"):
        return _over_store(over, role, before, after)
    count, flows = over_runs(*(_decisions(policy, over, operators) for policy in (before, after)))
    return OverJournals(old=_name(before), new=_name(after), decided=count, flows=_ways(flows))


def _over_store(over: Path, role: Role, before: Policy, after: Policy) -> OverStore:
    """What differs over the decisions of a store; a store keeps the policies that decided."""
    # NumPy is for who asks this.
    from streams.queries.otherwise import Otherwise  # noqa: PLC0415

    with Store.open(over, role) as store:
        judged = Otherwise(store, after)
        decided = sorted(set(store.sql(_DECIDED, limits.POLICY_VERSIONS_MAX).rows))
        answer = OverStore(
            old=_name(before),
            new=_name(after),
            epoch=store.epoch,
            decided_by=tuple(f"{name} {version}" for name, version in decided),
            decided=judged.events,
            not_judged=tuple(Unjudged(count, reason) for count, reason in judged.unjudged),
            flows=_ways(judged.groups),
            role=str(role),
            hidden=store.hidden,
        )
        store.record(f"policy diff --over {over}")
    if [version for _, version in decided] != [before.version]:
        say(
            f"{over}: was not decided by {_name(before)} alone; compared is what did decide",
            err=True,
        )
    return answer


def _decisions(policy: Policy, journal: Path, operators: Operators) -> list[DecidedRun]:
    """All decisions of a run of the pipeline under a policy over journals."""
    require("worker")
    # The replay brings the models with it.
    from streams.replay import Replay  # noqa: PLC0415

    runs: list[DecidedRun] = []

    def take(records: Sequence[Outgoing]) -> None:
        for record in records:
            if record.topic == LINEAGE:
                for block in orjson.loads(record.value or b"")["tables"].get("decisions", ()):
                    names, columns = list(block["each"]), zip(*block["each"].values(), strict=True)
                    rows = ({**block["all"], **dict(zip(names, row, strict=True))} for row in columns)
                    runs.extend(
                        DecidedRun(*(row[name] for name in DecidedRun.__struct_fields__)) for row in rows
                    )

    asyncio.run(Replay(policy, take, operators=operators).run(journal))
    return runs


def _ways(groups: Groups) -> tuple[Way, ...]:
    """Groups of changes as rows, the largest first."""
    ordered = sorted(
        groups.items(), key=lambda item: (-item[1].count, item[0].sink, item[0].zone, item[0].next_zone)
    )
    return tuple(
        Way(
            change.sink,
            change.zone,
            change.next_zone,
            change.verdict,
            change.next_verdict,
            change.next_rule,
            group.count,
            len(group.kinds) if len(group.kinds) > 3 else tuple(sorted(group.kinds)),
            tuple(
                EventsRow(source, stream, run.first, run.step, run.count)
                for source, stream, run in group.runs
            ),
        )
        for change, group in ordered
    )


def _say(answer: OnPaper | OverStore | OverJournals) -> None:
    if isinstance(answer, OverStore):
        emit_hidden(answer.role, answer.hidden)
    plain = answer.to_dict()
    beside = {"zones", "flows", "role", "hidden", "not judged"}
    emit_facts({name: value for name, value in plain.items() if name not in beside})
    for unjudged in answer.not_judged if isinstance(answer, OverStore) else ():
        say(f"not judged  {unjudged.count:,} {unjudged.reason}")
    if isinstance(answer, OnPaper):
        _say_ways("zones", answer.zones, {"sink", "verdict", "new verdict", "events"})
    _say_ways("flows", answer.flows, {"events"})


def _say_ways(name: str, ways: Sequence[Way], left_out: Set[str]) -> None:
    say()
    say(f"{name} that differ" + ("" if ways else ": none"))
    columns = [column for column in Way.__struct_encode_fields__ if column not in left_out]
    plain = [to_builtins(way) for way in ways[:ROWS_SHOWN]]
    if plain:
        emit_table(columns, [[row[column] for column in columns] for row in plain])
    if len(ways) > ROWS_SHOWN:
        say(f"and {len(ways) - ROWS_SHOWN} more ways; --json has them all")
