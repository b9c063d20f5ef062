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
from streams.policy.recheck import LOOKED_AT, SAID, Difference, StoredPolicies
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
FROM shadow GROUP BY ALL ORDER BY events DESC, sink, zone, verdict, next_zone, next_verdict, next_rule"""

#: Policies that were asked beside the one in force: that decide nothing themselves, or are named by a shadow.
_BESIDE = """SELECT name, version, epoch FROM policies
WHERE version NOT IN (SELECT policy_version FROM decisions) OR version IN (SELECT next_version FROM shadow)
ORDER BY epoch, version"""
_SINCE = """SELECT (SELECT coalesce(sum("count"), 0) FROM decisions WHERE epoch >= {epoch:d}),
    (SELECT count(*) FROM models WHERE epoch >= {epoch:d})"""
#: Model versions that learned from an example which the policy in force lets train and the next would not.
_TAUGHT = """SELECT count(DISTINCT child_first) FROM edges, shadow WHERE operator = 'training'
AND parent_source = shadow.source AND parent_stream = shadow.stream AND sink = 'training-run'
AND verdict = 'allow' AND next_verdict <> 'allow'
AND parent_first < shadow."first" + shadow.step * shadow."count"
AND parent_first + parent_width > shadow."first" """


def policies_in(store: Store) -> StoredPolicies:
    """All policies that the store keeps."""
    return StoredPolicies(store.policies)


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
            raise InputError(
                f"{identity}: the role {role} is shown no such decision in epoch {opened.epoch}; "
                f"those that it is shown about {event} are at: {known}"
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
    store: Store, policies: StoredPolicies, event: str, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What loosened the label of the event, if anything did, and how often in all that the role is shown."""
    names = questions.declassifiers_of(store, event)
    found = []
    for name, uses in names.items():
        declassifier = policies.version(rows[0]["policy_version"]).declassifiers.get(name)
        found.append(
            {"declassifier": name, "used in what is shown": f"{uses} times"}
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
@role_option
@json_option
def recheck(store: Path, role: Role, as_json: bool) -> None:
    """Decide every stored decision again, by the policy, attributes, consent and time that it looked at.

    Those that the role is not shown are left out, and said to be. Exit code 1 if one differs, or if the store
    has no text of a policy that decided.
    """
    with Store.open(store, role) as opened:
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
            "left out": opened.left_out,
            "role": str(role),
            "hidden": opened.hidden,
        }
    shown = [_difference(one) for one in differences[:DIFFERENCES_SHOWN]]
    if as_json:
        emit_json({**answer, "differing": shown})
    else:
        _say_answer(answer)
        if shown:
            say()
            say("differing")
            emit_table(list(shown[0]), [list(row.values()) for row in shown])
    sys.exit(1 if differences or answer["left out"] else 0)


def _not_judged(beside: bool, models: int, taught: int) -> list[str]:
    """What no shadow says anything of, and why."""
    if not beside:
        return [
            "anything: no policy decides beside the one in force; `sightline policy publish FILE --next`, "
            "and wait for the next epoch"
        ]
    if not models:
        return []
    learned = f", {taught:,} of them from examples that it would keep from training" if taught else ""
    return [
        f"{models:,} model versions{learned}: none is made beside; `sightline policy diff --over STORE` says "
        "which would not be"
    ]


def _say_answer(answer: dict[str, Any]) -> None:
    emit_hidden(answer["role"], answer["hidden"])
    emit_facts(
        {name: value for name, value in answer.items() if name not in {"role", "hidden", "not judged"}}
    )
    for sentence in answer.get("not judged", ()):
        say(f"not judged  {sentence}")


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
@role_option
@json_option
def shadow(store: Path, role: Role, as_json: bool) -> None:
    """List what the policy that may come next would decide otherwise, the training gate included.

    That policy is the one of `publish --next`, and it is asked about the events that came by since. It makes
    no model versions beside: how many were not judged is said.
    """
    with Store.open(store, role) as opened:
        rows = opened.sql(_SHADOW, limits.NUMBER_MAX).dicts()
        beside = opened.sql(_BESIDE, limits.POLICY_VERSIONS_MAX).rows
        since = min((epoch for _, _, epoch in beside), default=limits.NUMBER_MAX)
        decided, models = opened.sql(_SINCE.format(epoch=since)).rows[0]
        taught = opened.sql(_TAUGHT).rows[0][0]
        answer = {
            "epoch": opened.epoch,
            "next": [f"{name} {version}" for name, version, _ in beside],
            "decisions about events since": decided,
            "of them otherwise": sum(row["events"] for row in rows),
            "not judged": _not_judged(bool(beside), models, taught),
            "role": str(role),
            "hidden": opened.hidden,
        }
    if as_json:
        emit_json({**answer, "differing": rows})
        return
    _say_answer(answer)
    if rows:
        say()
        say("differing")
        emit_table(list(rows[0]), [list(row.values()) for row in rows[: limits.ANSWER_ROWS_MAX]])
