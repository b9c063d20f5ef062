"""Stage 4: match feedback and reviews to their answer; the utterance and what was meant become an example."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from streams.errors import MalformedError, operating
from streams.events.batch import Batch
from streams.events.identity import EventId, example_stream, incarnation_of
from streams.events.runs import Parent
from streams.events.state import DeviceState, OpenAnswer
from streams.feedback import forms
from streams.feedback.forms import Meaning
from streams.limits import OPEN_ANSWERS_MAX
from streams.models.version import ModelVersion
from streams.policy.crossing import Cited, Crossing, Maker, joined
from streams.policy.policy import Policy
from streams.policy.step import Cause, Opinion, Reject, Stretch, Tagged, in_order
from streams.topology import EXAMPLES, FEEDBACK, TAKEN

MAKER = Maker("example", 1)
_REVIEW: Literal["review"] = "review"  #: kind, and form of an opinion
_UNLISTED = (
    "intent: it is none that the policy lists, so no model learns it; "
    "choose one that it lists, or add it to the policy's intents"
)
_ANOTHER_RULE = "another-wearer"
_ANOTHER = (
    "another-wearer: the answer was given to somebody else, whose words nobody else makes an example of"
)


def run(
    passed: Sequence[Stretch], devices: Mapping[str, DeviceState], serving: ModelVersion, crossing: Crossing
) -> dict[str, DeviceState]:
    """Make an example of each feedback that names or confirms an intent; return the states.

    The states keep the answers to which feedback can still refer. `serving` interprets spoken feedback, with
    one prediction per fetch. Feedback makes no example if it refers to no answer that is kept, cannot be
    read, confirms nothing, or is from another wearer than the query. This is never silent: a reject of the
    example is recorded with its rule, which is `feedback` if the event is at fault, `intent` if the policy
    does not list the intent, else `another-wearer` or a rule of `streams.feedback.forms`. What feedback of
    the same wearer says of an answer that is kept is recorded beside that.
    """
    states = dict(devices)
    given = [
        replace(item, batch=item.batch.part(index, index + 1, item.batch.context))
        for item in in_order(crossing.admit(passed, TAKEN[FEEDBACK], FEEDBACK))
        for index in range(item.batch.run.count)
    ]
    spoken = [_spoken(feedback.batch) for feedback in given]
    with operating(MAKER.name):
        understood = iter(serving.model.predict([text for text in spoken if text is not None]))
    for feedback, text in zip(given, spoken, strict=True):
        batch, heard = feedback.batch, None if text is None else next(understood)
        answers = states[batch.source].answers
        remembered = answers[: bisect_left(answers, batch.position, key=_position)][-OPEN_ANSWERS_MAX:]
        try:
            answer = _answer_of(feedback, remembered)
            meant = (
                forms.reviewed(batch.columns)
                if batch.kind == _REVIEW
                else forms.meaning(batch.columns, answer.intent, heard)
            )
        except MalformedError as error:
            rule, reason = "feedback", str(error)
        else:
            rule, reason = _objection(batch, answer, meant, crossing.policy)
            if rule != _ANOTHER_RULE:
                crossing.step.opinions.append(_opinion(feedback, answer, meant, crossing.policy))
            if not rule:
                _example(feedback, answer, meant, serving, crossing)
        if rule:
            crossing.step.rejects.append(_no_example(feedback, rule, reason))
    for source, state in states.items():
        if len(state.answers) > OPEN_ANSWERS_MAX:
            states[source] = replace(state, answers=state.answers[-OPEN_ANSWERS_MAX:])
    return states


def _objection(batch: Batch, answer: OpenAnswer, meant: Meaning, policy: Policy) -> tuple[str, str]:
    """(rule, reason) why feedback about an answer makes no example; both are empty if it makes one."""
    if answer.wearer_id != batch.wearer_id:
        return _ANOTHER_RULE, _ANOTHER
    if meant.intent is None:
        return meant.rule, meant.reason
    return ("", "") if meant.intent in policy.intents else ("intent", _UNLISTED)


def _spoken(batch: Batch) -> str | None:
    """What the wearer said as feedback; None if it is another form of feedback, or a review."""
    return None if batch.kind == _REVIEW else forms.utterance(batch.columns)


def _opinion(feedback: Tagged, answer: OpenAnswer, meant: Meaning, policy: Policy) -> Opinion:
    about = (Cited.of(feedback), *_remembered(feedback.batch.source, answer))
    return Opinion(
        feedback,
        *joined(policy, MAKER.name, about),
        answer.stream,
        answer.number,
        answer.model_version,
        _REVIEW if feedback.batch.kind == _REVIEW else feedback.batch.columns["form"][0],
        meant.about(answer.intent),
        answer.candidate,
        meant.about_other(answer.intent, answer.candidate_intent) if answer.candidate else "",
    )


def _position(answer: OpenAnswer) -> int:
    return answer.position


def _answer_of(feedback: Tagged, remembered: Sequence[OpenAnswer]) -> OpenAnswer:
    target = EventId.parse(feedback.batch.columns["target"][0])
    if incarnation_of(target.stream) != incarnation_of(feedback.batch.stream):
        raise MalformedError(
            "target: names an answer of another incarnation of the device, whose consents were counted apart;"
            " no example was made"
        )
    for answer in reversed(remembered):
        of = (feedback.batch.source, answer.stream, answer.number)
        # Nobody heard what was withheld, so only who reviews it can say something about it.
        told = not answer.heard or feedback.batch.kind == _REVIEW
        if told and of == (target.source, target.stream, target.number):
            return answer
    raise MalformedError(
        f"target: names no answer of this device among the last {OPEN_ANSWERS_MAX}; no example was made"
    )


def _example(
    feedback: Tagged, answer: OpenAnswer, meant: Meaning, serving: ModelVersion, crossing: Crossing
) -> None:
    """Make the example, unless the policy refuses it.

    A model version that interpreted the feedback is one more parent.
    """
    batch = feedback.batch
    example = replace(
        batch,
        kind="example",
        stream=example_stream(batch.stream),
        columns={
            "utterance": [answer.utterance],
            "intent": [meant.intent],
            "answered_intent": [answer.intent],
            "model_version": [answer.model_version],
            "language": [answer.language or None],
            "agreement": [meant.agreement],
        },
    )
    parents = [Cited.of(feedback), *_remembered(batch.source, answer)]
    if meant.by_model:
        parents.append(Cited.unowned(serving))
    crossing.derive(example, MAKER, parents, EXAMPLES)


def _remembered(source: str, answer: OpenAnswer) -> tuple[Cited, Cited]:
    """The answer of device `source` to which feedback refers, and its query, as parents.

    The query is cited with the answer's consent and time, which are never newer or wider than its own.
    """

    def cited(stream: str, zone: str, label: str) -> Cited:
        edge = Parent(source, stream, answer.number, 1, 1)
        return Cited(edge, zone, bytes.fromhex(label), answer.consent, answer.since_ns)

    return (
        cited(answer.heard or answer.stream, answer.zone, answer.label),
        cited(answer.query_stream, answer.query_zone, answer.query_label),
    )


def _no_example(feedback: Tagged, rule: str, reason: str) -> Reject:
    batch = feedback.batch
    example = replace(batch, stream=example_stream(batch.stream))
    return Reject.refused(example, Cause("feedback", rule, reason), zone=feedback.zone)
