"""`sightline policy diff`: which decisions another policy would make otherwise."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence, Set
from pathlib import Path

import click
from msgspec import field, to_builtins

from streams.cli.extending import operators_option
from streams.cli.output import (
    emit_facts,
    emit_hidden,
    emit_json,
    emit_rows,
    emit_table,
    json_option,
    role_option,
)
from streams.events.record import Outgoing
from streams.extras import require
from streams.lineage.rows import rows_in
from streams.policy.diff import DecidedRun, of_anonymity, of_keys, of_speech, on_paper, over_runs
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.policy.terms import of_terms
from streams.printing import say
from streams.processing.operators import Operators
from streams.queries.differing import Differing, OverStore, Way, differing, told, ways
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import LINEAGE

ROWS_SHOWN = 40


class OnPaper(Differing, frozen=True, kw_only=True):
    """Of every combination of attributes: where the zones differ, and where the verdicts."""

    combinations: int
    zones: tuple[Way, ...]
    flows: tuple[Way, ...]


class OverJournals(Differing, frozen=True, kw_only=True):
    """Of all decisions about what devices sent."""

    decided: int = field(name="decisions about events")
    flows: tuple[Way, ...]


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
    differs = zones or answer.flows or answer.speech or answer.anonymised or answer.keys or answer.terms
    sys.exit(1 if exit_code and differs else 0)


def _on_paper(before: Policy, after: Policy) -> OnPaper:
    count, zones, flows = on_paper(before, after)
    return OnPaper(
        old=told(before),
        new=told(after),
        speech=of_speech(before, after),
        anonymised=of_anonymity(before, after),
        keys=of_keys(before, after),
        terms=of_terms(before, after),
        combinations=count,
        zones=ways(zones),
        flows=ways(flows),
    )


def _over(
    over: Path, role: Role, before: Policy, after: Policy, operators: Operators
) -> OverStore | OverJournals:
    if os.path.lexists(over / "catalog.duckdb"):
        return _over_store(over, role, before, after)
    count, flows = over_runs(*(_decisions(policy, over, operators) for policy in (before, after)))
    return OverJournals(
        old=told(before),
        new=told(after),
        speech=of_speech(before, after),
        anonymised=of_anonymity(before, after),
        keys=of_keys(before, after),
        terms=of_terms(before, after),
        decided=count,
        flows=ways(flows),
    )


def _over_store(over: Path, role: Role, before: Policy, after: Policy) -> OverStore:
    """What differs over the decisions of a store; a store keeps the policies that decided."""
    with Store.open(over, role) as store:
        answer = differing(store, before, after)
        store.record(f"policy diff --over {over}")
    if list(answer.decided_by) != [told(before)]:
        say(
            f"{over}: was not decided by {told(before)} alone; compared is what did decide",
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
                runs.extend(
                    DecidedRun(*(row[name] for name in DecidedRun.__struct_fields__))
                    for row in rows_in(record.value, "decisions")
                )

    asyncio.run(Replay(policy, take, operators=operators).run(journal))
    return runs


def _say(answer: OnPaper | OverStore | OverJournals) -> None:
    if isinstance(answer, OverStore):
        emit_hidden(answer.role, answer.hidden)
    plain = answer.to_dict()
    beside = {"zones", "flows", "speech", "anonymised", "keys", "terms", "role", "hidden", "not judged"}
    emit_facts({name: value for name, value in plain.items() if name not in beside})
    for unjudged in answer.not_judged if isinstance(answer, OverStore) else ():
        say(f"not judged  {unjudged.count:,} {unjudged.reason}")
    if isinstance(answer, OnPaper):
        _say_ways("zones", answer.zones, {"sink", "verdict", "new verdict", "events"})
    _say_ways("flows", answer.flows, {"events"})
    if answer.speech:
        say()
        say("what the assistant may say differs")
        emit_rows(answer.speech)
    if answer.anonymised:
        say()
        say("what an anonymised export has to hold to differs")
        emit_rows(answer.anonymised)
    if answer.keys:
        say()
        say("who else is given keys of sealed values differs")
        emit_rows(answer.keys)
    if answer.terms:
        say()
        say("what else they say differs")
        emit_rows(answer.terms[:ROWS_SHOWN])
        if (more := len(answer.terms) - ROWS_SHOWN) > 0:
            say(f"and {more} more terms; --json has them all")


def _say_ways(name: str, ways: Sequence[Way], left_out: Set[str]) -> None:
    say()
    say(f"{name} that differ" + ("" if ways else ": none"))
    columns = [column for column in Way.__struct_encode_fields__ if column not in left_out]
    plain = [to_builtins(way) for way in ways[:ROWS_SHOWN]]
    if plain:
        emit_table(columns, [[row[column] for column in columns] for row in plain])
    if len(ways) > ROWS_SHOWN:
        say(f"and {len(ways) - ROWS_SHOWN} more ways; --json has them all")
