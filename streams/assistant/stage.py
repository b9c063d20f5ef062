"""Stage 3: answer each query with an intent, a confidence and the version of the model that gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streams.events.state import DeviceState, OpenAnswer
from streams.events.step import Output, Parent, Step, Tagged
from streams.models.version import SOURCE, STREAM, ModelVersion
from streams.policy.flow import STORE, decide
from streams.policy.policy import Policy
from streams.processing.stage import JOIN_RULE, Asked
from streams.topology import ANSWERS

OPERATOR, VERSION = "answer", 1


def run(asked: Sequence[Asked], devices: Mapping[str, DeviceState], policy: Policy,
        serving: ModelVersion) -> tuple[Step, dict[str, DeviceState]]:
    """Answer one fetch's queries with one prediction; return the step and the states that now hold the open answers.

    The answer's label joins those of query, situation and model; one that policy may not deliver is not given, and
    the decision says so.
    """
    step, states = Step(), dict(devices)
    answerable = [(one.query, one.situation) for one in asked if one.situation is not None]
    predicted = serving.model.predict([query.batch.columns["text"][0] for query, _ in answerable])
    for (query, situation), (intent, confidence) in zip(answerable, predicted, strict=True):
        batch = query.batch
        made = replace(batch, kind="answer", stream=stream(batch.stream), context={},
                       columns={"intent": [intent], "confidence": [confidence], "model_version": [serving.version], "text": [None]})
        label = policy.derive("answer", (query.label, situation.label, serving.label))
        answer = Tagged(made, policy.highest((query.zone, situation.zone, serving.zone)), label, JOIN_RULE)
        if not (decide(answer, ANSWERS, policy, step) and decide(answer, STORE, policy, step)):
            continue
        number = batch.run.first
        step.outputs.append(Output(ANSWERS, answer, OPERATOR, VERSION, (
            Parent(batch.source, batch.stream, number, 1, 1), Parent(batch.source, situation.batch.stream, number, 1, 1),
            Parent(SOURCE, STREAM, serving.version, 1, 1, "indirect"))))
        open_answer = OpenAnswer(number, batch.position, intent, serving.version, batch.columns["text"][0], made.stream, batch.stream,
                                 query.label.hex(), query.zone, label.hex(), answer.zone)
        state = states[batch.source]
        states[batch.source] = replace(state, answers=(*state.answers, open_answer))
    return step, states


def stream(query_stream: str) -> str:
    """Name of the answer stream of a query stream (law 1: the incarnation stays)."""
    return "".join((OPERATOR, *query_stream.partition("~")[1:]))
