"""Answers to requests under a wearer's rights: a sentence that says what happened to the request.

No model is used.
"""

from __future__ import annotations

from msgspec.structs import replace

from streams.events.batch import Batch

KIND = "erasure_request"


def answer(request: Batch) -> Batch:
    """Answer to one erasure request, with the request's number.

    Feedback cannot refer to this answer, because nothing can be learned from it.
    """
    sentence = f"Your request is recorded as {request.first_id}. Nothing is erased yet."
    return replace(
        request,
        kind="answer",
        stream=stream(request.stream),
        context=None,
        columns={"intent": [KIND], "confidence": [1.0], "model_version": [0], "text": [sentence]},
    )


def stream(request_stream: str) -> str:
    """Name of the answer stream of a request stream (law 1: `answer` itself belongs to the queries)."""
    return f"answer-{request_stream}"
