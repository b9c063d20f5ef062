"""Stage 3: answer each query with an intent, a confidence and the version of the model that gave them.

A request is answered with a sentence, and so is a query whose answer the policy withholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from streams.assistant import requests, withheld
from streams.errors import operating
from streams.events.batch import Batch
from streams.events.identity import derived_stream
from streams.events.state import DeviceState, OpenAnswer
from streams.models.drift import pooled
from streams.models.grams import grams
from streams.models.version import ModelVersion
from streams.policy.crossing import Cited, Crossing, Maker
from streams.policy.step import Stretch, Tagged, in_order
from streams.topology import ANSWERS, ASSISTANT

MAKER = Maker("answer", 1)
#: What an answer says whose confidence is below the policy's floor.
UNSURE = "I am not sure that I understood you."


class _Given(Struct, frozen=True):
    """An answer before the policy has decided; `query` is the query that it answers, None for a request.

    `withheld` is the answer in whose place it stands, if a rule withheld that.
    """

    batch: Batch
    parents: tuple[Cited, ...]
    query: Tagged | None = None
    withheld: Batch | None = None


def run(
    passed: Sequence[Stretch],
    asked: Sequence[tuple[Tagged, Tagged]],
    devices: Mapping[str, DeviceState],
    serving: ModelVersion,
    crossing: Crossing,
    candidate: ModelVersion | None = None,
) -> dict[str, DeviceState]:
    """Answer one fetch's queries with one prediction, and its erasure requests; return the states.

    `asked` are pairs (query, its situation). Answers are in partition order. The states also keep the answers
    to queries, because feedback may refer to them. An answer that the policy refuses is not given, and its
    decision records that; instead of one that it withholds a sentence is given, and a reject records that.

    A `candidate` is asked the same, and heard by nobody: the states keep what it understood, so that feedback
    judges it too.
    """
    states = dict(devices)
    answerable = [
        (query, situation)
        for query, situation in asked
        if not crossing.refusing_rule(query, ASSISTANT) and not crossing.refusing_rule(situation, ASSISTANT)
    ]
    requested = in_order(crossing.admit(passed, (requests.KIND,), ASSISTANT))
    with operating(MAKER.name):
        texts = [query.batch.columns["text"][0] for query, _ in answerable]
        predicted, beside = _predicted(texts, serving, crossing, candidate)
    shadows = {query.batch.first_id: intent for (query, _), intent in zip(answerable, beside, strict=False)}
    model = Cited.unowned(serving)
    given = [
        _said(
            _answer(query.batch, understood, serving.version, crossing.policy.speech.confidence_percent_min),
            query,
            (Cited.of(query), Cited.of(situation), model),
            crossing,
        )
        for (query, situation), understood in zip(answerable, predicted, strict=True)
    ]
    given += [_requested(item, index) for item in requested for index in range(item.batch.run.count)]
    for each in sorted(given, key=_position):
        answer = crossing.derive(each.batch, MAKER, each.parents, ANSWERS)
        if answer is not None and each.query is not None:
            state = states[answer.batch.source]
            kept = _open(answer, each.query, each.withheld)
            if candidate is not None:
                intent = shadows[each.query.batch.first_id]
                kept = replace(kept, candidate=candidate.version, candidate_intent=intent)
            states[answer.batch.source] = replace(state, answers=(*state.answers, kept))
    return states


def _predicted(
    texts: Sequence[str], serving: ModelVersion, crossing: Crossing, candidate: ModelVersion | None
) -> tuple[list[tuple[str, float]], list[str]]:
    """(intent, confidence) of each text by the model that serves, and the intents of a candidate, if any."""
    if not texts:
        return [], []
    made, counts = grams(texts), crossing.step.counts
    counts.queries, counts.grams = len(texts), pooled(made)
    predicted = serving.model.predict(texts, made)
    if candidate is None:
        return predicted, []
    beside = [intent for intent, _ in candidate.model.predict(texts, made)]
    counts.shadowed = len(texts)
    counts.shadowed_alike = sum(a == b for (a, _), b in zip(predicted, beside, strict=True))
    return predicted, beside


def _position(given: _Given) -> int:
    return given.batch.position


def _said(answer: Batch, query: Tagged, parents: tuple[Cited, ...], crossing: Crossing) -> _Given:
    """The answer, or, with a reject, the sentence instead of it if the policy withholds it."""
    reject = withheld.reject_of(answer, query.batch, parents, crossing.policy)
    if reject is None:
        return _Given(answer, parents, query)
    crossing.step.rejects.append(reject)
    return _Given(withheld.instead(answer, query.batch), parents, query, answer)


def _answer(query: Batch, understood: tuple[str, float], model_version: int, percent_min: int) -> Batch:
    intent, confidence = understood
    return replace(
        query,
        kind="answer",
        stream=derived_stream(MAKER.name, query.stream),
        context=None,
        columns={
            "intent": [intent],
            "confidence": [confidence],
            "model_version": [model_version],
            "text": [UNSURE if withheld.percent(confidence) < percent_min else None],
        },
    )


def _requested(requests_: Tagged, index: int) -> _Given:
    batch = requests_.batch
    request = replace(requests_, batch=batch.part(index, index + 1, batch.context))
    return _Given(requests.answer(request.batch), (Cited.of(request),))


def _open(answer: Tagged, query: Tagged, withheld: Batch | None) -> OpenAnswer:
    """What a state keeps of an answer, so that feedback can refer to it.

    An answer that was `withheld` has the zone, label and consent of the sentence in its place; reviews alone
    can refer to it.
    """
    heard, asked = answer.batch, query.batch
    given = withheld or heard
    return OpenAnswer(
        number=given.run.first,
        position=asked.position,
        intent=given.columns["intent"][0],
        model_version=given.columns["model_version"][0],
        utterance=asked.columns["text"][0],
        stream=given.stream,
        query_stream=asked.stream,
        query_label=query.label.hex(),
        query_zone=query.zone,
        label=answer.label.hex(),
        zone=answer.zone,
        consent=answer.consent_number,
        wearer_id=given.wearer_id,
        since_ns=heard.oldest_ns,
        heard=heard.stream if withheld else "",
        language=asked.columns["language"][0],
    )
