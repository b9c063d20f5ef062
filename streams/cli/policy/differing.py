"""`sightline policy diff`: which decisions another policy would make otherwise."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from streams import limits
from streams.cli.output import emit_facts, emit_hidden, emit_json, emit_table, json_option, role_option
from streams.events.record import Outgoing
from streams.policy.diff import Groups, on_paper, over_runs
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.printing import say
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import LINEAGE

ROWS_SHOWN = 40
_DECIDED = """SELECT DISTINCT name, version FROM policies
WHERE version IN (SELECT policy_version FROM decisions)"""


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
@json_option
def diff(old: str, new: str, over: Path | None, role: Role, exit_code: bool, as_json: bool) -> None:
    """Say what policy NEW decides otherwise than policy OLD: on paper, or over real traffic.

    Of a store, over the decisions that the role is shown.
    """
    before, after = load(old), load(new)
    answer: dict[str, Any] = {
        "old": f"{before.name} {before.version}",
        "new": f"{after.name} {after.version}",
    }
    if over is None:
        count, zones, flows = on_paper(before, after)
        answer |= {"combinations": count, "zones": _rows(zones), "flows": _rows(flows)}
    elif os.path.lexists(over / "catalog.duckdb"):
        answer |= _over_store(over, role, before, after)
    else:
        count, flows = over_runs(*(_decisions(policy, over) for policy in (before, after)))
        answer |= {"decisions about events": count, "flows": _rows(flows)}
    _say(answer, as_json)
    sys.exit(1 if exit_code and any(answer.get(name) for name in ("zones", "flows")) else 0)


def _over_store(over: Path, role: Role, before: Policy, after: Policy) -> dict[str, Any]:
    """What differs over the decisions of a store; a store keeps the policies that decided."""
    # NumPy is for who asks this.
    from streams.queries.otherwise import Otherwise  # noqa: PLC0415

    with Store.open(over, role) as store:
        judged = Otherwise(store, after)
        decided = sorted(set(store.sql(_DECIDED, limits.POLICY_VERSIONS_MAX).rows))
        answer = {
            "epoch": store.epoch,
            "decided by": [f"{name} {version}" for name, version in decided],
            "decisions about events": judged.events,
            "not judged": [{"count": count, "what": what} for count, what in judged.unjudged],
            "flows": _rows(judged.groups),
            "role": str(role),
            "hidden": store.hidden,
        }
        store.record(f"policy diff --over {over}")
    if [version for _, version in decided] != [before.version]:
        say(
            f"{over}: was not decided by {before.name} {before.version} alone; compared is what did decide",
            err=True,
        )
    return answer


def _decisions(policy: Policy, journal: Path) -> list[dict[str, Any]]:
    """All decisions of a run of the pipeline under a policy over journals."""
    # The replay brings the models with it.
    from streams.replay import Replay  # noqa: PLC0415

    rows: list[dict[str, Any]] = []

    def take(records: Sequence[Outgoing]) -> None:
        for record in records:
            if record.topic == LINEAGE:
                for block in orjson.loads(record.value or b"")["tables"].get("decisions", ()):
                    names, columns = list(block["each"]), zip(*block["each"].values(), strict=True)
                    rows.extend({**block["all"], **dict(zip(names, row, strict=True))} for row in columns)

    asyncio.run(Replay(policy, take).run(journal))
    return rows


def _rows(groups: Groups) -> list[dict[str, Any]]:
    ordered = sorted(
        groups.items(), key=lambda one: (-one[1].count, one[0].sink, one[0].zone, one[0].next_zone)
    )
    return [
        {
            "sink": change.sink,
            "zone": change.zone,
            "new zone": change.next_zone,
            "verdict": change.verdict,
            "new verdict": change.next_verdict,
            "new rule": change.next_rule,
            "count": group.count,
            "kinds": len(group.kinds) if len(group.kinds) > 3 else sorted(group.kinds),
            "events": [
                {"source": source, "stream": stream, "first": run.first, "step": run.step, "count": run.count}
                for source, stream, run in group.runs
            ],
        }
        for change, group in ordered
    ]


def _say(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    emit_hidden(answer.get("role", ""), answer.get("hidden", {}))
    beside = {"zones", "flows", "role", "hidden", "not judged"}
    emit_facts({name: value for name, value in answer.items() if name not in beside})
    for one in answer.get("not judged", ()):
        say(f"not judged  {one['count']:,} {one['what']}")
    for name, hidden in (("zones", {"sink", "verdict", "new verdict", "events"}), ("flows", {"events"})):
        if name not in answer:
            continue
        rows = [{key: value for key, value in row.items() if key not in hidden} for row in answer[name]]
        say()
        say(f"{name} that differ" + ("" if rows else ": none"))
        if rows:
            emit_table(list(rows[0]), [list(row.values()) for row in rows[:ROWS_SHOWN]])
        if len(rows) > ROWS_SHOWN:
            say(f"and {len(rows) - ROWS_SHOWN} more ways; --json has them all")
