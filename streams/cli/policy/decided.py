"""`sightline policy explain`, `recheck` and `shadow`: what the store says of decisions that were made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from streams import clock, limits
from streams.cli.output import (
    emit_facts,
    emit_hidden,
    emit_json,
    emit_table,
    json_option,
    role_option,
    store_option,
)
from streams.errors import InputError
from streams.policy.explain import explain as explained
from streams.policy.recheck import LOOKED_AT, SAID, Difference, Policies
from streams.policy.recheck import recheck as rechecked
from streams.policy.rules import Declassifier
from streams.printing import say
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store

DIFFERENCES_SHOWN = 20
_COLUMNS = tuple(dict.fromkeys((*LOOKED_AT, *SAID)))
#: What was decided alike is decided again once. When the broker took it matters only where the decision
#: looked at another time.
_CHOSEN = ", ".join(f"any_value({name}) AS {name}" if name == "appended_ns" else name for name in _COLUMNS)
_ALIKE = ", ".join(name for name in _COLUMNS if name != "appended_ns")
_DISTINCT = f"""SELECT {_CHOSEN},
    any_value(source || '/' || stream || '/' || "first") AS id, count(*) AS runs, sum("count") AS events
FROM decisions GROUP BY {_ALIKE}, CASE WHEN at_ns <> 0 THEN appended_ns END"""  # noqa: S608
_SHADOW = """SELECT sink, zone, verdict, next_zone, next_verdict, next_rule, sum("count") AS events,
    count(DISTINCT source) AS devices
FROM shadow GROUP BY ALL ORDER BY events DESC, sink, zone, next_zone, verdict, next_verdict, next_rule"""


def policies_in(store: Store) -> Policies:
    """All policies that the store keeps."""
    return Policies(store.policies)


def distinct_decisions(store: Store) -> list[dict[str, Any]]:
    """Decisions of the store, one row for those that are alike; `runs` and `events` say how many they are."""
    return store.sql(_DISTINCT, limits.NUMBER_MAX).dicts()


@click.command("explain")
@click.argument("identity", metavar="ID[@SINK]")
@store_option
@role_option
@json_option
def explain(identity: str, store: Path, role: Role, as_json: bool) -> None:
    """Say why the decisions about event ID are what they are.

    ID is such as g1/example/5 or, for one sink alone, g1/example/5@training-run.
    """
    event, _, sink = identity.partition("@")
    with Store.open(store, role) as opened:
        policies = policies_in(opened)
        about = questions.decided(opened, event)
        rows = [row for row in about if not sink or row["sink"] == sink]
        if not rows:
            known = ", ".join(dict.fromkeys(row["sink"] for row in about)) or "none"
            kept = (
                f" (not shown to {role}: {opened.sight.hidden['decisions']})"
                if opened.sight and opened.sight.hidden
                else ""
            )
            raise InputError(
                f"{identity}: epoch {opened.epoch} holds no such decision; decisions about {event} are at: "
                f"{known}{kept}"
            )
        answer: dict[str, Any] = {
            "id": event,
            "epoch": opened.epoch,
            "decisions": [explained(policies.version(row["policy_version"]), row) for row in rows],
            "declassified": _declassified(opened, policies, event, rows),
            "role": str(role),
            "hidden": opened.hidden,
        }
        opened.record(f"policy explain {identity}")
    if as_json:
        emit_json(answer)
        return
    emit_hidden(answer["role"], answer["hidden"])
    emit_facts({"id": event, "epoch": answer["epoch"]})
    for one in answer["decisions"]:
        _say(one)
    for one in answer["declassified"]:
        say()
        say("declassified")
        emit_facts(one)


def _say(one: dict[str, Any]) -> None:
    passed = "" if one["verdict"] == "allow" or not one["passed"] else ", recorded and let pass"
    say()
    say(f"{one['sink']}: {one['verdict']}{passed}")
    emit_facts(
        {
            name: value
            for name, value in one.items()
            if name not in {"sink", "verdict", "label", "would_change_it", "requirement"}
        }
    )
    if "requirement" in one:
        emit_facts({f"requirement {name}": value for name, value in one["requirement"].items()})
    emit_facts({f"label {name}": value for name, value in one["label"].items()})
    for sentence in one["would_change_it"]:
        say(f"to change it  {sentence}")


def _declassified(
    store: Store, policies: Policies, event: str, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What loosened the label of the event, if anything did, and how often it was used in the whole store."""
    names = questions.declassifiers_of(store, event)
    found = []
    for name, uses in names.items():
        declassifier = policies.version(rows[0]["policy_version"]).declassifiers.get(name)
        found.append(
            {"declassifier": name, "used in the store": f"{uses} times"}
            | (
                {}
                if declassifier is None
                else {
                    "owner": declassifier.owner,
                    "reason": declassifier.reason,
                    "evidence": declassifier.evidence,
                    "sets retention": declassifier.retention,
                    "review by": declassifier.review_by.isoformat(),
                    **_overdue(declassifier),
                }
            )
        )
    return found


def _overdue(declassifier: Declassifier) -> dict[str, str]:
    today = clock.date_today()
    return {"overdue": declassifier.review(today)} if declassifier.overdue(today) else {}


@click.command("recheck")
@store_option
@json_option
def recheck(store: Path, as_json: bool) -> None:
    """Decide every stored decision again, by the policy, attributes, consent and time that it looked at.

    Exit code 1 if one differs.
    """
    with Store.open(store) as opened:
        rows = distinct_decisions(opened)
        differences = list(rechecked(rows, policies_in(opened)))
        versions = sorted({row["policy_version"] for row in rows})
        answer = {
            "epoch": opened.epoch,
            "decisions": sum(row["runs"] for row in rows),
            "events": sum(row["events"] for row in rows),
            "distinct": len(rows),
            "policies": versions,
            "differences": sum(one.row["runs"] for one in differences),
        }
    shown = [_difference(one) for one in differences[:DIFFERENCES_SHOWN]]
    if as_json:
        emit_json({**answer, "differing": shown})
    else:
        emit_facts(answer)
        if shown:
            say()
            say("differing")
            emit_table(list(shown[0]), [list(row.values()) for row in shown])
    sys.exit(1 if differences else 0)


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "first": one.row["id"],
        "runs": one.row["runs"],
        "sink": one.row["sink"],
        "stored": {name: one.row[name] for name in one.now},
        "now": dict(one.now),
    }


@click.command("shadow")
@store_option
@json_option
def shadow(store: Path, as_json: bool) -> None:
    """List what the policy that may come next would decide otherwise.

    That policy is the one of `publish --next`, and it is asked about the events that came by since.
    """
    with Store.open(store) as opened:
        rows = opened.sql(_SHADOW, limits.NUMBER_MAX).dicts()
        decided = opened.sql('SELECT coalesce(sum("count"), 0) FROM decisions').rows[0][0]
        versions = [
            version for (version,) in opened.sql("SELECT DISTINCT next_version FROM shadow ORDER BY 1").rows
        ]
        answer = {
            "epoch": opened.epoch,
            "next": versions,
            "decisions about events in all": decided,
            "of them otherwise": sum(row["events"] for row in rows),
        }
    if as_json:
        emit_json({**answer, "differing": rows})
        return
    emit_facts(answer)
    if rows:
        say()
        say("differing")
        emit_table(list(rows[0]), [list(row.values()) for row in rows[: limits.ANSWER_ROWS_MAX]])
