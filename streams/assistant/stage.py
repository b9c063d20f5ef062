"""Stage 3: answer each query with an intent, a confidence and the version of the model that gave them.

A request is answered with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from streams.assistant import requests
from streams.consent.view import Known
from streams.consent.words import reference
from streams.errors import operating
from streams.events.identity import derived_stream
from streams.events.runs import Parent
from streams.events.state import DeviceState, OpenAnswer
from streams.models.version import SOURCE, STREAM, ModelVersion
from streams.policy.flow import decide
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Step, Tagged
from streams.processing.stage import Asked, admitted
from streams.topology import ANSWERS, ASSISTANT, STORE

OPERATOR, VERSION = "answer", 1


def run(
    tagged: Sequence[Tagged],
    asked: Sequence[Asked],
    devices: Mapping[str, DeviceState],
    policy: Policy,
    known: Known,
    serving: ModelVersion,
) -> tuple[Step, dict[str, DeviceState]]:
    """Answer one fetch's queries with one prediction and its erasure requests.

    Return the step and the states.

    Answers come in partition order; the states now hold those to queries, which feedback may come for. One
    that policy may not deliver is not given, and the decision says so.
    """
    step, states = Step(), dict(devices)
    answerable = [
        (one.query, one.situation)
        for one in asked
        if one.situation is not None
        and not decide(one.query, (ASSISTANT,), policy, step)
        and not decide(one.situation, (ASSISTANT,), policy, step)
    ]
    requested = admitted(tagged, (requests.KIND,), ASSISTANT, policy, step)
    with operating(OPERATOR):
        predicted = serving.model.predict([query.batch.columns["text"][0] for query, _ in answerable])
    made: list[tuple[Output, Tagged | None]] = [
        (_answer(query, situation, found, policy, known, serving), query)
        for (query, situation), found in zip(answerable, predicted, strict=True)
    ]
    made += [(output, None) for output in requests.answers(requested, policy)]
    for output, query in sorted(made, key=_position):
        answer = output.tagged
        if decide(answer, (ANSWERS, STORE), policy, step):
            continue
        step.outputs.append(output)
        if query is not None:
            state = states[query.batch.source]
            states[query.batch.source] = replace(state, answers=(*state.answers, _open(answer, query)))
    return step, states


def _position(made: tuple[Output, Tagged | None]) -> int:
    return made[0].tagged.batch.position


def _answer(
    query: Tagged,
    situation: Tagged,
    found: tuple[str, float],
    policy: Policy,
    known: Known,
    serving: ModelVersion,
) -> Output:
    """Answer one query: its label joins those of query, situation and model."""
    batch = query.batch
    intent, confidence = found
    made = replace(
        batch,
        kind="answer",
        stream=derived_stream(OPERATOR, batch.stream),
        context=None,
        columns={
            "intent": [intent],
            "confidence": [confidence],
            "model_version": [serving.version],
            "text": [None],
        },
        since_ns=situation.batch.oldest_ns,
    )
    label = policy.derive("answer", (query.label, situation.label, serving.label))
    number = situation.consent_number
    under = reference(batch.source, batch.stream, number)
    answer = Tagged(
        made,
        policy.highest((query.zone, situation.zone, serving.zone)),
        label,
        JOIN_RULE,
        "",
        number,
        known.of(batch.wearer_id, under, made.since_ns, batch.position, batch.appended_ns),
    )
    return Output(
        ANSWERS,
        answer,
        OPERATOR,
        VERSION,
        (
            Parent(batch.source, batch.stream, batch.run.first, 1, 1),
            Parent(batch.source, situation.batch.stream, batch.run.first, 1, 1),
            Parent(SOURCE, STREAM, serving.version, 1, 1, "indirect"),
        ),
    )


def _open(answer: Tagged, query: Tagged) -> OpenAnswer:
    made, asked = answer.batch, query.batch
    return OpenAnswer(
        made.run.first,
        asked.position,
        made.columns["intent"][0],
        made.columns["model_version"][0],
        asked.columns["text"][0],
        made.stream,
        asked.stream,
        query.label.hex(),
        query.zone,
        answer.label.hex(),
        answer.zone,
        answer.consent_number,
        made.wearer_id,
        made.oldest_ns,
    )
