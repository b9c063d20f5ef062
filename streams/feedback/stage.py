"""Stage 4: tie feedback to the answer it is about; utterance and chosen intent become an example."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace

from streams.errors import MalformedError
from streams.events.identity import EventId
from streams.events.state import DeviceState, OpenAnswer
from streams.events.step import Output, Parent, Reject, Step, Tagged
from streams.limits import OPEN_ANSWERS_MAX
from streams.policy.flow import STORE, decide
from streams.policy.policy import Policy
from streams.processing.stage import JOIN_RULE
from streams.topology import EXAMPLES

OPERATOR, VERSION = "example", 1
_INTENT = re.compile(r"[a-z][a-z0-9_]{0,63}")


def run(tagged: Sequence[Tagged], devices: Mapping[str, DeviceState], policy: Policy) -> tuple[Step, dict[str, DeviceState]]:
    """Make an example of each feedback; return the step and the states with the answers that can still be meant.

    Feedback about an answer that nobody remembers, or with an intent that is no name, makes no example; that is
    recorded as a reject of the example, never silently.
    """
    step, states = Step(), dict(devices)
    for item in tagged:
        if item.batch.kind != "feedback":
            continue
        answers = states[item.batch.source].answers
        known = answers[:bisect_left(answers, item.batch.position, key=_position)][-OPEN_ANSWERS_MAX:]
        for index in range(item.batch.run.count):
            _example(replace(item, batch=item.batch.part(index, index + 1, item.batch.context)), known, policy, step)
    for source, state in states.items():
        if len(state.answers) > OPEN_ANSWERS_MAX:
            states[source] = replace(state, answers=state.answers[-OPEN_ANSWERS_MAX:])
    return step, states


def _position(answer: OpenAnswer) -> int:
    return answer.position


def _example(feedback: Tagged, known: Sequence[OpenAnswer], policy: Policy, step: Step) -> None:
    batch = feedback.batch
    made_stream = "".join((OPERATOR, *batch.stream.partition("~")[1:]))
    try:
        answer, intent = _answer_of(feedback, known), _intent_of(feedback)
    except MalformedError as error:
        step.rejects.append(Reject(str(error), "feedback", "feedback", batch.position, batch.source.encode(), 0, "", None,
                                   batch.source, made_stream, batch.run, feedback.zone, batch.t0_ns))
        return
    example = replace(batch, kind="example", stream=made_stream, columns={
        "utterance": [answer.utterance], "intent": [intent], "answered_intent": [answer.intent], "model_version": [answer.model_version]})
    label = policy.derive("example", (feedback.label, bytes.fromhex(answer.label), bytes.fromhex(answer.query_label)))
    tagged = Tagged(example, policy.highest((feedback.zone, answer.zone, answer.query_zone)), label, JOIN_RULE)
    if decide(tagged, EXAMPLES, policy, step) and decide(tagged, STORE, policy, step):
        step.outputs.append(Output(EXAMPLES, tagged, OPERATOR, VERSION, (
            Parent(batch.source, batch.stream, batch.run.first, 1, 1), Parent(batch.source, answer.stream, answer.number, 1, 1),
            Parent(batch.source, answer.query_stream, answer.number, 1, 1))))


def _answer_of(feedback: Tagged, known: Sequence[OpenAnswer]) -> OpenAnswer:
    target = EventId.parse(feedback.batch.columns["target"][0])
    for answer in reversed(known):
        if (feedback.batch.source, answer.stream, answer.number) == (target.source, target.stream, target.number):
            return answer
    raise MalformedError(f"target: names no answer of this device among the last {OPEN_ANSWERS_MAX}; no example was made")


def _intent_of(feedback: Tagged) -> str:
    intent = str(feedback.batch.columns["chosen_intent"][0])
    if _INTENT.fullmatch(intent) is None:
        raise MalformedError("chosen_intent: found no name, expected lower-case letters, digits and underscores, at most 64")
    return intent
