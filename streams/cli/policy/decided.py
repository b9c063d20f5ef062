"""`sightline policy explain`, `recheck` and `shadow`: what the store says of decisions that were made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec import UNSET, Struct, UnsetType, field, to_builtins

from streams import clock, limits
from streams.cli.output import (
    emit_facts,
    emit_hidden,
    emit_json,
    emit_rows,
    json_option,
    role_option,
    store_option,
)
from streams.errors import InputError
from streams.policy.explain import Explanation
from streams.policy.explain import explain as explained
from streams.policy.policy import Policy
from streams.policy.recheck import Difference, StoredDecision, StoredPolicies
from streams.policy.recheck import recheck as rechecked
from streams.policy.rules import Declassifier
from streams.printing import say
from streams.queries import questions
from streams.queries.answers import Answer
from streams.queries.role import Role
from streams.queries.store import Store

DIFFERENCES_SHOWN = 20
_COLUMNS = StoredDecision.__struct_fields__
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


class DistinctDecision(StoredDecision, frozen=True, kw_only=True):
    """Decisions that are alike: the id of one of them, how many rows and how many events they are."""

    id: str
    runs: int
    events: int


class Declassified(Struct, frozen=True, kw_only=True):
    """What loosened a label, how often, and what the policy says of it."""

    declassifier: str
    used: str = field(name="used in what is shown")
    owner: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    evidence: str | UnsetType = UNSET
    sets_retention: str | UnsetType = field(name="sets retention", default=UNSET)
    review_by: str | UnsetType = field(name="review by", default=UNSET)
    overdue: str | UnsetType = UNSET


class Explained(Answer, frozen=True, kw_only=True):
    """Why the decisions about an event are what they are."""

    id: str
    epoch: int
    decisions: tuple[Explanation, ...]
    declassified: tuple[Declassified, ...]
    role: str
    hidden: Mapping[str, str]


class DifferenceRow(Struct, frozen=True):
    """Decisions that come out otherwise: what the store says of them, and what comes of them now."""

    first: str
    runs: int
    sink: str
    stored: Mapping[str, str | bool]
    now: Mapping[str, str | bool]


class Rechecked(Answer, frozen=True, kw_only=True):
    """How many decisions were made again, and which came out otherwise; `policies` are versions."""

    epoch: int
    decisions: int
    events: int
    distinct: int
    policies: tuple[str, ...]
    differences: int
    left_out: tuple[str, ...] = field(name="left out")
    role: str
    hidden: Mapping[str, str]
    differing: tuple[DifferenceRow, ...]


class ShadowRow(Struct, frozen=True):
    """What the policy that may come next decides otherwise in one way."""

    sink: str
    zone: str
    verdict: str
    next_zone: str
    next_verdict: str
    next_rule: str
    events: int
    devices: int


class Shadowed(Answer, frozen=True, kw_only=True):
    """What the policy that may come next would decide otherwise, in events."""

    epoch: int
    next: tuple[str, ...]
    decided: int = field(name="decisions about events since")
    otherwise: int = field(name="of them otherwise")
    not_judged: tuple[str, ...] = field(name="not judged")
    role: str
    hidden: Mapping[str, str]
    differing: tuple[ShadowRow, ...]


def distinct_decisions(store: Store) -> list[DistinctDecision]:
    """Decisions of the store, each distinct one once."""
    return store.sql(_DISTINCT, limits.NUMBER_MAX).of(DistinctDecision)


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
        policies = StoredPolicies(opened.policies)
        about = questions.decisions(opened, event)
        rows = [row for row in about if not sink or row.sink == sink]
        if not rows:
            known = ", ".join(dict.fromkeys(row.sink for row in about)) or "none"
            raise InputError(
                f"{identity}: the role {role} is shown no such decision in epoch {opened.epoch}; "
                f"those that it is shown about {event} are at: {known}"
            )
        answer = Explained(
            id=event,
            epoch=opened.epoch,
            decisions=tuple(explained(policies.version(row.policy_version), row.stored) for row in rows),
            declassified=_declassified(opened, event, policies.version(rows[0].policy_version)),
            role=str(role),
            hidden=opened.hidden,
        )
        opened.record(f"policy explain {identity}")
    if as_json:
        emit_json(answer.to_dict())
        return
    emit_hidden(answer.role, answer.hidden)
    emit_facts({"id": event, "epoch": answer.epoch})
    for decision in answer.decisions:
        _say(decision)
    for declassified in answer.declassified:
        say()
        say("declassified")
        emit_facts(to_builtins(declassified))


def _say(decision: Explanation) -> None:
    passed = "" if decision.verdict == "allow" or not decision.passed else ", recorded and let pass"
    say()
    say(f"{decision.sink}: {decision.verdict}{passed}")
    apart = {"sink", "verdict", "label", "would_change_it", "requirement"}
    emit_facts({name: value for name, value in to_builtins(decision).items() if name not in apart})
    if decision.requirement is not UNSET:
        emit_facts(
            {f"requirement {name}": value for name, value in to_builtins(decision.requirement).items()}
        )
    emit_facts({f"label {name}": value for name, value in decision.label.items()})
    for sentence in decision.would_change_it:
        say(f"to change it  {sentence}")


def _declassified(store: Store, event: str, policy: Policy) -> tuple[Declassified, ...]:
    """What loosened the label of the event, if anything did, and how often in all that the role is shown."""
    uses = questions.declassifiers_of(store, event)
    return tuple(_loosened(policy.declassifiers.get(name), name, count) for name, count in uses.items())


def _loosened(declassifier: Declassifier | None, name: str, uses: int) -> Declassified:
    used = f"{uses} times"
    if declassifier is None:
        return Declassified(declassifier=name, used=used)
    today = clock.date_today()
    return Declassified(
        declassifier=name,
        used=used,
        owner=declassifier.owner,
        reason=declassifier.reason,
        evidence=declassifier.evidence,
        sets_retention=declassifier.retention,
        review_by=declassifier.review_by.isoformat(),
        overdue=declassifier.review(today) if declassifier.overdue(today) else UNSET,
    )


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
        differences = list(rechecked(rows, StoredPolicies(opened.policies)))
        answer = Rechecked(
            epoch=opened.epoch,
            decisions=sum(row.runs for row in rows),
            events=sum(row.events for row in rows),
            distinct=len(rows),
            policies=tuple(sorted({row.policy_version for row in rows})),
            differences=sum(difference.row.runs for difference in differences),
            left_out=tuple(opened.left_out),
            role=str(role),
            hidden=opened.hidden,
            differing=tuple(map(_difference, differences[:DIFFERENCES_SHOWN])),
        )
    if as_json:
        emit_json(answer.to_dict())
    else:
        _say_facts(answer)
        if answer.differing:
            say()
            say("differing")
            emit_rows(answer.differing)
    sys.exit(1 if differences or answer.left_out else 0)


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


def _say_facts(answer: Rechecked | Shadowed) -> None:
    """Print what stands beside the rows of an answer."""
    emit_hidden(answer.role, answer.hidden)
    beside = {"role", "hidden", "not judged", "differing"}
    emit_facts({name: value for name, value in answer.to_dict().items() if name not in beside})


def _difference(difference: Difference[DistinctDecision]) -> DifferenceRow:
    row = difference.row
    stored = {name: getattr(row, name) for name in difference.now}
    return DifferenceRow(row.id, row.runs, row.sink, stored, difference.now)


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
        rows = opened.sql(_SHADOW, limits.NUMBER_MAX).of(ShadowRow)
        beside = opened.sql(_BESIDE, limits.POLICY_VERSIONS_MAX).rows
        since = min((epoch for _, _, epoch in beside), default=limits.NUMBER_MAX)
        decided, models = opened.sql(_SINCE.format(epoch=since)).rows[0]
        taught = opened.sql(_TAUGHT).rows[0][0]
        answer = Shadowed(
            epoch=opened.epoch,
            next=tuple(f"{name} {version}" for name, version, _ in beside),
            decided=decided,
            otherwise=sum(row.events for row in rows),
            not_judged=tuple(_not_judged(bool(beside), models, taught)),
            role=str(role),
            hidden=opened.hidden,
            differing=tuple(rows),
        )
    if as_json:
        emit_json(answer.to_dict())
        return
    _say_facts(answer)
    for sentence in answer.not_judged:
        say(f"not judged  {sentence}")
    if rows:
        say()
        say("differing")
        emit_rows(rows[: limits.ANSWER_ROWS_MAX])
