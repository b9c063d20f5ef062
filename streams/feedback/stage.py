"""Stage 4: tie feedback to its answer; the utterance and the intent that was meant become an example."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from streams.consent.view import Known
from streams.consent.words import reference
from streams.errors import MalformedError, operating
from streams.events.identity import EventId, derived_stream, incarnation_of
from streams.events.runs import Parent
from streams.events.state import DeviceState, OpenAnswer
from streams.feedback import forms
from streams.feedback.forms import Meaning
from streams.limits import OPEN_ANSWERS_MAX
from streams.models.version import SOURCE, STREAM, ModelVersion
from streams.policy.flow import decide
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Reject, Step, Tagged
from streams.processing.stage import admitted
from streams.topology import EXAMPLES, FEEDBACK, STORE

OPERATOR, VERSION = "example", 1
_UNLISTED = (
    "intent: it is none that the policy lists, so no model learns it; "
    "choose one that it lists, or add it to the policy's intents"
)
_ANOTHER = (
    "another-wearer: the answer was given to somebody else, whose words nobody else makes an example of"
)


def run(
    tagged: Sequence[Tagged],
    devices: Mapping[str, DeviceState],
    policy: Policy,
    known: Known,
    serving: ModelVersion,
) -> tuple[Step, dict[str, DeviceState]]:
    """Make an example of each feedback that names or confirms an intent; return the step and the states.

    The states keep the answers that can still be meant. `serving` understands what was spoken, one fetch in
    one prediction. Feedback about an answer that nobody remembers, that cannot be read, or that confirms
    nothing, or that somebody else gives than who asked, makes no example; that is recorded as a reject of the
    example with its rule (`feedback` where the event is at fault, `intent` where the policy does not list
    what was meant, else `another-wearer` or one of `streams.feedback.forms`), never silently.
    """
    step, states = Step(), dict(devices)
    given = [
        replace(item, batch=item.batch.part(index, index + 1, item.batch.context))
        for item in admitted(tagged, ("feedback",), FEEDBACK, policy, step)
        for index in range(item.batch.run.count)
    ]
    said = [forms.utterance(feedback.batch.columns) for feedback in given]
    with operating(OPERATOR):
        understood = iter(serving.model.predict([text for text in said if text is not None]))
    for feedback, text in zip(given, said, strict=True):
        batch, heard = feedback.batch, None if text is None else next(understood)
        answers = states[batch.source].answers
        remembered = answers[: bisect_left(answers, batch.position, key=_position)][-OPEN_ANSWERS_MAX:]
        try:
            answer = _answer_of(feedback, remembered)
            meant = forms.meaning(batch.columns, answer.intent, heard)
        except MalformedError as error:
            step.rejects.append(_no_example(feedback, "feedback", str(error)))
            continue
        if answer.wearer_id != batch.wearer_id:
            step.rejects.append(_no_example(feedback, "another-wearer", _ANOTHER))
        elif meant.intent is None:
            step.rejects.append(_no_example(feedback, meant.rule, meant.reason))
        elif meant.intent not in policy.intents:
            step.rejects.append(_no_example(feedback, "intent", _UNLISTED))
        else:
            _example(feedback, answer, meant, policy, known, serving, step)
    for source, state in states.items():
        if len(state.answers) > OPEN_ANSWERS_MAX:
            states[source] = replace(state, answers=state.answers[-OPEN_ANSWERS_MAX:])
    return step, states


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
        if (feedback.batch.source, answer.stream, answer.number) == (
            target.source,
            target.stream,
            target.number,
        ):
            return answer
    raise MalformedError(
        f"target: names no answer of this device among the last {OPEN_ANSWERS_MAX}; no example was made"
    )


def _example(
    feedback: Tagged,
    answer: OpenAnswer,
    meant: Meaning,
    policy: Policy,
    known: Known,
    serving: ModelVersion,
    step: Step,
) -> None:
    """Make the example, if policy lets it through.

    A model version that understood the feedback is one more parent.
    """
    batch = feedback.batch
    number = min(feedback.consent_number, answer.consent)
    context = None if batch.context is None else replace(batch.context, consent=number)
    example = replace(
        batch,
        kind="example",
        context=context,
        stream=derived_stream(OPERATOR, batch.stream),
        columns={
            "utterance": [answer.utterance],
            "intent": [meant.intent],
            "answered_intent": [answer.intent],
            "model_version": [answer.model_version],
        },
        since_ns=min(batch.oldest_ns, answer.since_ns),
    )
    under = reference(batch.source, batch.stream, number)
    labels = [feedback.label, bytes.fromhex(answer.label), bytes.fromhex(answer.query_label)]
    zones = [feedback.zone, answer.zone, answer.query_zone]
    parents = [
        Parent(batch.source, batch.stream, batch.run.first, 1, 1),
        Parent(batch.source, answer.stream, answer.number, 1, 1),
        Parent(batch.source, answer.query_stream, answer.number, 1, 1),
    ]
    if meant.by_model:
        labels.append(serving.label)
        zones.append(serving.zone)
        parents.append(Parent(SOURCE, STREAM, serving.version, 1, 1, "indirect"))
    tagged = Tagged(
        example,
        policy.highest(zones),
        policy.derive("example", tuple(labels)),
        JOIN_RULE,
        "",
        number,
        known.of(batch.wearer_id, under, example.since_ns, batch.position, batch.appended_ns),
    )
    if not decide(tagged, (EXAMPLES, STORE), policy, step):
        step.outputs.append(Output(EXAMPLES, tagged, OPERATOR, VERSION, tuple(parents)))


def _no_example(feedback: Tagged, rule: str, reason: str) -> Reject:
    batch = feedback.batch
    return Reject(
        reason,
        rule,
        "refused",
        "feedback",
        batch.position,
        batch.source.encode(),
        0,
        "",
        None,
        batch.source,
        derived_stream(OPERATOR, batch.stream),
        batch.run,
        feedback.zone,
        batch.t0_ns,
        batch.wearer_id,
        batch.appended_ns,
    )
