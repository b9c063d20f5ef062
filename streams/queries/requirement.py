"""The questions about requirements of a policy: what they concern, where each is enforced, what breaks it.

Stored decisions are held against the conditions of the requirement, whichever rule decided them. What was
made of data that the requirement would have stopped is not followed: `sightline policy diff --over` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.identity import format_id
from streams.limits import ANSWER_ROWS_MAX, LABEL_BYTES
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies, labelled_under
from streams.policy.rules import Requirement
from streams.queries.answers import Answer, Bounded
from streams.queries.store import Store

#: How a decision treated a requirement: it was part of the policy and held data back; it was part of it, in a
#: zone that only logs; it was no part of the policy that decided.
Checked = Literal["enforced", "logged", "not-checked"]


class DecidedAlike(Struct, frozen=True):
    """A row of `requirement_classes`: decisions alike; `last_day` are those of the day before the latest."""

    class_: int
    policy_version: str
    attributes: str
    zone: str
    label: str
    sink: str
    purpose: str
    verdict: str
    passed: bool
    mode: str
    latest_ns: int
    events: int
    last_day: int


class Concerned(Struct, frozen=True):
    """Decisions that a requirement concerns; whether it holds for them, and how it was checked."""

    row: DecidedAlike
    holds: bool
    checked: Checked

    @property
    def violates(self) -> bool:
        """Whether data passed that the requirement forbids."""
        return self.row.passed and not self.holds


class RequiredFlow(Struct, frozen=True):
    """Events of a zone that went to a sink or were kept from it, and whether the requirement `holds`."""

    zone: str
    sink: str
    purpose: str
    checked: Checked
    holds: bool
    passed: bool
    events: int


class TouchedStream(Struct, frozen=True):
    """A stream that the requirement concerns, of so many devices; an event counts once a sink."""

    stream: str
    sources: int
    events: int


class Violation(Struct, frozen=True):
    """A run of events that passed although the requirement forbids it; `id` is the first of them."""

    id: str
    events: int
    t: str
    zone: str
    sink: str
    purpose: str
    checked: Checked
    policy_version: str


class Enforcing(Struct, frozen=True):
    """What enforcing would have stopped of a zone at a sink.

    `by_requirement` events break the requirement. A zone is enforced whole: `by_all` are these and those that
    other rules denied and only logged.
    """

    zone: str
    sink: str
    purpose: str
    by_requirement: int
    by_all: int


class Shares(Struct, frozen=True):
    """Percent of the events concerned, by how the requirement was checked; UNSET where there are none."""

    enforced: float | UnsetType = UNSET
    logged: float | UnsetType = UNSET
    not_checked: float | UnsetType = UNSET


class Required(Answer, frozen=True, kw_only=True):
    """One requirement of a policy over the decisions of a store; counts are events, once a sink.

    `concerned` is what its conditions apply to; of that, `stopped` breaks it and did not pass, `violations`
    breaks it and passed, `violations_last_day` within 24 h before the `latest` decision. `not_judged` is what
    has no label or sink that the policy knows. `owner` and `proof` are UNSET where the policy names none.
    """

    requirement: str
    epoch: int
    policy: str
    about: str
    when: str
    require: str
    owner: str | UnsetType
    proof: str | UnsetType
    latest: str | UnsetType
    concerned: int
    stopped: int
    violations: int
    violations_last_day: int
    not_judged: int
    percent: Shares
    streams: Bounded[TouchedStream]
    flows: Bounded[RequiredFlow]
    enforcing_stops: Bounded[Enforcing]
    open_violations: Bounded[Violation]


class RequirementLine(Struct, frozen=True, kw_only=True):
    """One requirement in a line; percentages are UNSET where nothing is concerned.

    `enforced_percent_before` is what was enforced up to 24 h before the latest decision. `changed` says
    `new` or `reworded` where no policy that decided before that had the requirement as it is now.
    """

    requirement: str
    owner: str | UnsetType
    concerned: int
    enforced_percent: float | UnsetType
    enforced_percent_before: float | UnsetType
    violations: int
    violations_last_day: int
    changed: str


class Requirements(Answer, frozen=True, kw_only=True):
    """All requirements of a policy; `dropped` are those of policies that decided before and had others."""

    epoch: int
    policy: str
    latest: str | UnsetType
    dropped: tuple[str, ...]
    requirements: Bounded[RequirementLine]


class _Asked:
    """A policy beside the decisions of a store."""

    def __init__(self, store: Store, draft: Policy | None) -> None:
        self.store, self.policies = store, StoredPolicies(store.policies)
        self.policy = draft or self._newest()
        self.rows = [DecidedAlike(*row) for row in store.shown("requirement_classes").rows]
        self.latest: str | UnsetType = (
            rfc3339(max(row.latest_ns for row in self.rows)) if self.rows else UNSET
        )

    def _newest(self) -> Policy:
        rows = self.store.shown("newest_policy").rows
        if not rows:
            raise InputError(
                f"{self.store.named}: found no policy that decided about what the role is shown, "
                "expected one; ask as another role (--role), or about a policy file (--policy)"
            )
        return self.policies.version(rows[0][0])

    @property
    def told(self) -> str:
        return f"{self.policy.name} {self.policy.version}"

    def judged(self, requirement: Requirement) -> tuple[list[Concerned], int]:
        """What of the decisions a requirement concerns, and how many events cannot be judged."""
        concerned: list[Concerned] = []
        unjudged = 0
        for row in self.rows:
            zone, label = labelled_under(
                self.policy, self.policies, row.policy_version, row.attributes, row.zone, row.label
            )
            sink = self.policy.sinks.get(row.sink)
            if sink is None or len(label) != LABEL_BYTES:
                unjudged += row.events
                continue
            facts = self.policy.facts(zone, label, sink)
            if requirement.concerns(facts):
                holds = not requirement.broken(facts)
                concerned.append(Concerned(row, holds, self._checked(row, requirement)))
        return concerned, unjudged

    def _checked(self, row: DecidedAlike, requirement: Requirement) -> Checked:
        if row.policy_version != self.policy.version:
            try:
                then = self.policies.version(row.policy_version).requirements
            except InputError:
                return "not-checked"
            if not any(requirement.same_rule(other) for other in then):
                return "not-checked"
        return "logged" if row.mode == "logging" else "enforced"


def requirement(store: Store, name: str, draft: Policy | None = None) -> Required:
    """Return how a requirement stands over all decisions, of what the role is shown.

    It is one of the newest policy that decided, or of a `draft` that need not be published.

    InputError when the policy has no such requirement, or no policy decided.
    """
    asked = _Asked(store, draft)
    rule = _named(asked.policy, name)
    concerned, unjudged = asked.judged(rule)
    broken = [each for each in concerned if not each.holds]
    violating = [each for each in broken if each.violates]
    return Required(
        requirement=rule.name,
        epoch=store.epoch,
        policy=asked.told,
        about=rule.about,
        when=rule.when.text if rule.when else "always",
        require=rule.require.text,
        owner=rule.owner or UNSET,
        proof=rule.proof or UNSET,
        latest=asked.latest,
        concerned=_events(concerned),
        stopped=_events(broken) - _events(violating),
        violations=_events(violating),
        violations_last_day=sum(each.row.last_day for each in violating),
        not_judged=unjudged,
        percent=Shares(*(_percent(concerned, how) for how in ("enforced", "logged", "not-checked"))),
        streams=Bounded.of([TouchedStream(*row) for row in _rows_of(store, "streams", concerned)]),
        flows=Bounded.of(_flows(concerned)),
        enforcing_stops=Bounded.of(_enforcing(asked.rows, violating)),
        open_violations=_violations(store, violating),
    )


def requirements(store: Store, draft: Policy | None = None) -> Requirements:
    """Return how each requirement of a policy stands, as `requirement` judges it, the most violated first.

    InputError when no policy decided.
    """
    asked = _Asked(store, draft)
    before = _decided_before(asked)
    lines = [_line(asked, rule, before) for rule in asked.policy.requirements]
    names = {rule.name for rule in asked.policy.requirements}
    dropped = {rule.name for rule in before if rule.name not in names}
    return Requirements(
        epoch=store.epoch,
        policy=asked.told,
        latest=asked.latest,
        dropped=tuple(sorted(dropped)),
        requirements=Bounded.of(sorted(lines, key=lambda line: (-line.violations, line.requirement))),
    )


def _named(policy: Policy, name: str) -> Requirement:
    names = [rule.name for rule in policy.requirements]
    if name in names:
        return policy.requirements[names.index(name)]
    # Questions that name what is there need not wait for it.
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names) or 'none'}"
    raise InputError(f"{name}: policy {policy.name} {policy.version} has no such requirement; {hint}")


def _line(asked: _Asked, rule: Requirement, before: Sequence[Requirement]) -> RequirementLine:
    concerned, _ = asked.judged(rule)
    violating = [each for each in concerned if each.violates]
    changed = ""
    if before and not any(rule.same_rule(other) for other in before):
        changed = "reworded" if any(rule.name == other.name for other in before) else "new"
    return RequirementLine(
        requirement=rule.name,
        owner=rule.owner or UNSET,
        concerned=_events(concerned),
        enforced_percent=_percent(concerned, "enforced"),
        enforced_percent_before=_percent(concerned, "enforced", lambda row: row.events - row.last_day),
        violations=_events(violating),
        violations_last_day=sum(each.row.last_day for each in violating),
        changed=changed,
    )


def _decided_before(asked: _Asked) -> list[Requirement]:
    """Requirements of the policies that decided anything before the last day."""
    rules: list[Requirement] = []
    for version in sorted({row.policy_version for row in asked.rows if row.events > row.last_day}):
        try:
            rules += asked.policies.version(version).requirements
        except InputError:
            continue
    return rules


def _events(concerned: Iterable[Concerned]) -> int:
    return sum(each.row.events for each in concerned)


def _percent(
    concerned: Sequence[Concerned],
    how: str,
    count: Callable[[DecidedAlike], int] = lambda row: row.events,
) -> float | UnsetType:
    whole = sum(count(each.row) for each in concerned)
    part = sum(count(each.row) for each in concerned if each.checked == how)
    return round(100 * part / whole, 4) if whole else UNSET


def _flows(concerned: Iterable[Concerned]) -> list[RequiredFlow]:
    """What is concerned, by flow: what breaks the requirement first, the largest first."""
    counts: Counter[tuple[str, str, str, Checked, bool, bool]] = Counter()
    for each in concerned:
        row = each.row
        counts[row.zone, row.sink, row.purpose, each.checked, each.holds, row.passed] += row.events
    flows = [RequiredFlow(*flow, events) for flow, events in counts.items()]
    return sorted(flows, key=lambda flow: (flow.holds, not flow.passed, -flow.events, flow.zone, flow.sink))


def _enforcing(rows: Iterable[DecidedAlike], violating: Iterable[Concerned]) -> list[Enforcing]:
    own: Counter[tuple[str, str, str]] = Counter()
    classes = set()
    for each in violating:
        own[each.row.zone, each.row.sink, each.row.purpose] += each.row.events
        classes.add(each.row.class_)
    others: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if row.passed and row.verdict != "allow" and row.class_ not in classes:
            others[row.zone, row.sink, row.purpose] += row.events
    return [Enforcing(*flow, events, events + others[flow]) for flow, events in sorted(own.items())]


def _violations(store: Store, violating: Sequence[Concerned]) -> Bounded[Violation]:
    of = {each.row.class_: each for each in violating}
    rows = _rows_of(store, "runs", violating, limit=ANSWER_ROWS_MAX)
    runs = max((row[-1] for row in rows), default=0)
    violations = tuple(
        Violation(
            format_id(source, stream, first),
            count,
            rfc3339(t_ns),
            of[key].row.zone,
            of[key].row.sink,
            of[key].row.purpose,
            of[key].checked,
            of[key].row.policy_version,
        )
        for key, source, stream, first, count, t_ns, _ in rows
    )
    return Bounded(violations, runs - len(violations))


def _rows_of(
    store: Store, part: str, concerned: Sequence[Concerned], **parameters: int
) -> list[tuple[Any, ...]]:
    """Rows of `requirement_<part>` in the classes of some decisions."""
    if not concerned:
        return []
    classes = [each.row.class_ for each in concerned]
    return store.shown(f"requirement_{part}", {"classes": classes, **parameters}).rows
