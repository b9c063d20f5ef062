"""Differences between the decisions of two policies about the same fetch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from streams.events.runs import consecutive
from streams.lineage.rows import Row
from streams.policy.flow import at_gate, decision_of
from streams.policy.policy import Policy
from streams.policy.step import NOT_ASKED, Decision, Step
from streams.topology import EXAMPLES, TRAINING_RUN

Key = tuple[str, str, str]


def differences(
    decided: Sequence[Decision], beside: Sequence[Decision], version: str, other: str
) -> list[Row]:
    """Rows of table `shadow`: the events about which two policies decide differently.

    A row is a run of events that differ in the same way. Decisions with the same verdict and zone count as
    equal, even if the rules differ.
    """
    mine, theirs = _by_event(_unlike(decided, beside)), _by_event(_unlike(beside, decided))
    differing: dict[tuple[object, ...], list[int]] = {}
    times: dict[tuple[object, ...], int] = {}
    for (key, number), decision in _all(mine, theirs):
        ours, next_decision = mine.get(key, {}).get(number), theirs.get(key, {}).get(number)
        if (
            ours is not None
            and next_decision is not None
            and (ours.verdict, ours.zone) == (next_decision.verdict, next_decision.zone)
        ):
            continue
        how = (*key, *_said(ours), *_said(next_decision))
        differing.setdefault(how, []).append(number)
        times.setdefault(how, decision.t_ns)
    return [
        {
            "source": source,
            "stream": stream,
            "first": run.first,
            "step": run.step,
            "count": run.count,
            "t_ns": times[how],
            "sink": sink,
            "policy_version": version,
            "zone": zone,
            "verdict": verdict,
            "rule": rule,
            "next_version": other,
            "next_zone": next_zone,
            "next_verdict": next_verdict,
            "next_rule": next_rule,
        }
        for how, numbers in differing.items()
        for source, stream, sink, zone, verdict, rule, next_zone, next_verdict, next_rule in [how]
        for run in consecutive(sorted(numbers))
    ]


def with_gate(step: Step, policy: Policy) -> list[Decision]:
    """Decisions of a fetch, and those that the training gate would make about its examples now.

    The gate itself runs later, in agent `training`, and sees only the label of the policy in force. The label
    of the next policy is known here only.
    """
    learned = [output.tagged for output in step.outputs if output.topic == EXAMPLES]
    return step.decisions + [
        decision_of(
            example,
            TRAINING_RUN,
            at_gate(policy, example, example.batch.appended_ns),
            example.batch.appended_ns,
        )
        for example in learned
    ]


def _unlike(some: Sequence[Decision], others: Sequence[Decision]) -> list[Decision]:
    """Decisions in `some` that have no equal decision about the same run in `others`.

    Only these need to be compared event by event.
    """
    same = {
        (decision.source, decision.stream, decision.sink, decision.run, decision.zone, decision.verdict)
        for decision in others
    }
    return [
        decision
        for decision in some
        if (decision.source, decision.stream, decision.sink, decision.run, decision.zone, decision.verdict)
        not in same
    ]


def _by_event(decisions: Iterable[Decision]) -> dict[Key, dict[int, Decision]]:
    by_event: dict[Key, dict[int, Decision]] = {}
    for decision in decisions:
        by_event.setdefault((decision.source, decision.stream, decision.sink), {}).update(
            dict.fromkeys(decision.run, decision)
        )
    return by_event


def _all(*sides: dict[Key, dict[int, Decision]]) -> Iterator[tuple[tuple[Key, int], Decision]]:
    seen: dict[tuple[Key, int], Decision] = {}
    for side in sides:
        for key, numbers in side.items():
            for number, decision in numbers.items():
                seen.setdefault((key, number), decision)
    yield from seen.items()


def _said(decision: Decision | None) -> tuple[str, str, str]:
    return ("", NOT_ASKED, "") if decision is None else (decision.zone, decision.verdict, decision.rule)
