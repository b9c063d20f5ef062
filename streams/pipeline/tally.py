"""What a fetch did, as counts: made of its `Step`, and counted when the fetch is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streams.events.batch import Batch
from streams.feedback.forms import DENIED
from streams.lineage.rows import Row
from streams.metrics import Tally
from streams.policy.step import Decision, Reject, Step
from streams.topology import FEEDBACK

_SESSIONS, _ENDED = "device_state", "ended"


@dataclass(frozen=True, slots=True)
class Aside:
    """What a worker measures of a fetch beside its counts.

    `queries` is how many the model read, `grams` the mass of their n-grams (see `streams.models.drift`), and
    `ended` are the devices whose session ended.
    """

    queries: int
    grams: Any
    ended: frozenset[str]

    @classmethod
    def of(cls, step: Step) -> Aside:
        """Make it of the results of the stages."""
        last = {
            stretch.stream[0]: stretch.batches[-1] for stretch in step.stretches if stretch.kind == _SESSIONS
        }
        ended = frozenset(name for name, batch in last.items() if batch.columns["session"][-1] == _ENDED)
        return cls(step.counts.queries, step.counts.grams, ended)


def tallied(step: Step, differing: Sequence[Row] = ()) -> Tally:
    """Return the counts of one fetch; `differing` are its rows of table `shadow`."""
    tally = Tally()
    _batches(tally, step)
    _decisions(tally, step.decisions)
    _rejects(tally, step.rejects)
    if step.counts.late:
        tally.count("late_events_total", step.counts.late)
    if step.counts.queries:
        tally.count("model_inputs_total", step.counts.queries)
    if counts := step.counts.shadowed:
        tally.count("shadow_answers_total", step.counts.shadowed_alike, alike="yes")
        tally.count("shadow_answers_total", counts - step.counts.shadowed_alike, alike="no")
    for row in differing:
        tally.count(
            "shadow_different_events_total",
            row["count"],
            sink=row["sink"],
            verdict=row["verdict"],
            next_verdict=row["next_verdict"],
        )
    return tally


def _batches(tally: Tally, step: Step) -> None:
    #: Batches and events by kind and zone.
    made: dict[tuple[str, str], list[int]] = {}
    for stretch in step.stretches:
        numbers = made.setdefault((stretch.kind, stretch.first.zone), [0, 0])
        numbers[0] += len(stretch.batches)
        numbers[1] += stretch.run.count
    for output in step.outputs:
        batch = output.tagged.batch
        numbers = made.setdefault((batch.kind, output.tagged.zone), [0, 0])
        numbers[0] += 1
        numbers[1] += batch.run.count
        if declassifiers := [parent.declassifier for parent in output.parents if parent.declassifier]:
            for declassifier in set(declassifiers):
                tally.count("declassified_events_total", batch.run.count, declassifier=declassifier)
        if batch.kind == "example":
            tally.count("feedback_total", meaning=_meaning(batch))
    for (kind, zone), (batches, events) in made.items():
        tally.count("batches_total", batches, kind=kind, zone=zone)
        tally.count("events_total", events, kind=kind, zone=zone)


def _meaning(example: Batch) -> str:
    """What the feedback says that an example was made of."""
    intent, answered = example.columns["intent"][0], example.columns["answered_intent"][0]
    return "confirmed" if intent == answered else "corrected"


def _decisions(tally: Tally, decisions: Sequence[Decision]) -> None:
    #: Decisions and events by sink, zone and verdict, and by whether the events passed.
    made: dict[tuple[str, str, str, bool], list[int]] = {}
    for decision in decisions:
        numbers = made.setdefault((decision.sink, decision.zone, decision.verdict, decision.passed), [0, 0])
        numbers[0] += 1
        numbers[1] += decision.run.count
    for (sink, zone, verdict, passed), (count, events) in made.items():
        tally.count("decisions_total", count, sink=sink, verdict=verdict)
        tally.count("decided_events_total", events, sink=sink, zone=zone, verdict=verdict)
        if passed:
            tally.count("crossed_events_total", events, sink=sink, zone=zone)


def _rejects(tally: Tally, rejects: Sequence[Reject]) -> None:
    for reject in rejects:
        cause = reject.cause
        events, stage, outcome, rule = (
            reject.run.count if reject.run else 0,
            cause.stage,
            cause.outcome,
            cause.rule,
        )
        tally.count("rejected_batches_total", stage=stage, outcome=outcome, rule=rule)
        tally.count("rejected_events_total", events, stage=stage, outcome=outcome, rule=rule)
        if cause.stage == FEEDBACK:
            tally.count("feedback_total", meaning="denied" if cause.rule in DENIED else "unclear")
