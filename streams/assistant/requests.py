"""Answers to requests of the wearer's rights: a sentence that says what became of the request.

No model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from streams.events.runs import Parent
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Tagged
from streams.topology import ANSWERS

KIND = "erasure_request"
VERSION = 1


def answers(tagged: Sequence[Tagged], policy: Policy) -> list[Output]:
    """Answer each erasure request of a fetch, in partition order.

    The answer has the request's number, zone and label.

    It is no answer that feedback can be about, since nothing can be learned from it.
    """
    return [
        _answer(item, index, policy)
        for item in tagged
        if item.batch.kind == KIND
        for index in range(item.batch.run.count)
    ]


def _answer(requests: Tagged, index: int, policy: Policy) -> Output:
    batch = requests.batch.part(index, index + 1, requests.batch.context)
    sentence = f"Your request is recorded as {batch.first_id}. Nothing is erased yet."
    made = replace(
        batch,
        kind="answer",
        stream=stream(batch.stream),
        context=None,
        columns={"intent": [KIND], "confidence": [1.0], "model_version": [0], "text": [sentence]},
    )
    tagged = Tagged(
        made,
        requests.zone,
        policy.derive("answer", (requests.label,)),
        JOIN_RULE,
        "",
        requests.consent_number,
        requests.consent,
    )
    return Output(
        ANSWERS, tagged, "answer", VERSION, (Parent(batch.source, batch.stream, batch.run.first, 1, 1),)
    )


def stream(request_stream: str) -> str:
    """Name of the answer stream of a request stream (law 1: `answer` itself belongs to the queries)."""
    return f"answer-{request_stream}"
