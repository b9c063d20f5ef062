"""A review is judged as feedback is: what it means, what is made of it, and what it cannot do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.events.headers import PARENTS, unpack_parents
from streams.events.record import Outgoing, StoredRecord
from streams.topology import EXAMPLES, REJECTED
from streams.training import gate
from streams.training.turning import answers_of
from tests import build
from tests.training.test_training import train

CORE = build.core()
SECOND_NS = 1_000_000_000


def review(
    verdict: str, number: int = 0, meant: str | None = None, target: str = "g1/answer/0", **more: Any
) -> Batch:
    columns: dict[str, list[Any]] = {
        "target": [target],
        "verdict": [verdict],
        "chosen_intent": [meant],
        "reviewer": ["rita"],
    }
    t0_ns = build.T0_NS + (10 + number) * SECOND_NS
    return build.batch("review", None, number, 1, t0_ns=t0_ns, columns=columns, **more)


def written(*reviews: Batch) -> list[Outgoing]:
    queries = [build.query(i, "wake me at seven", build.T0_NS + i * SECOND_NS) for i in range(2)]
    return build.process(CORE, [build.fetch([*queries, *reviews], 0)])[0]


@pytest.mark.parametrize(
    ("verdict", "meant", "rule", "meaning"),
    [
        ("meant", "alarm_set", "", "confirmed"),
        ("meant", "lists_createoradd", "", "corrected"),
        ("unclear", None, "reviewed-unclear", "unclear"),
    ],
)
def test_a_verdict_makes_an_example_or_says_why_there_is_none(
    verdict: str, meant: str | None, rule: str, meaning: str
) -> None:
    records = written(review(verdict, meant=meant))
    (opinion,) = build.lineage(records)["feedback"]
    assert (opinion["form"], opinion["meaning"], opinion["answer_stream"], opinion["answer"]) == (
        "review",
        meaning,
        "answer",
        0,
    )
    rejected = [dict(each.headers)["sightline-rule"].decode() for each in records if each.topic == REJECTED]
    made = [each for each in records if each.topic == EXAMPLES]
    assert (rejected, len(made)) == ([rule] if rule else [], 0 if rule else 1)
    for example in made:
        fields, headers = orjson.loads(example.value or b""), dict(example.headers)
        columns = fields["columns"]
        assert fields["stream"] == "example-review"
        assert columns["utterance"] == ["wake me at seven"]
        assert columns["intent"] == [meant]
        parents = unpack_parents("g1", 0, headers[PARENTS])
        assert [(parent.stream, parent.first) for parent in parents] == [
            ("review", 0),
            ("answer", 0),
            ("voice-query", 0),
        ]


def test_feedback_and_a_review_of_one_answer_make_two_examples_and_no_collision() -> None:
    given = build.feedback(0, "g1/answer/0", "alarm_set", build.T0_NS + 5 * SECOND_NS)
    records = written(given, review("meant", meant="alarm_set"))
    made = [dict(each.headers)["ce_id"] for each in records if each.topic == EXAMPLES]
    assert made == [b"g1/example/0", b"g1/example-review/0"]


@pytest.mark.parametrize(
    ("batch", "rule"),
    [
        (review("meant"), "feedback"),
        (review("meant", meant="FlyMe"), "feedback"),
        (review("meant", meant="fly_me"), "intent"),
        (review("unclear", target="g1/answer/9"), "feedback"),
        (replace(review("unclear"), wearer_id="w2"), "another-wearer"),
        (replace(review("unclear"), stream="review-of-mine"), "names"),
    ],
)
def test_what_cannot_be_a_review_makes_nothing_and_is_told(batch: Batch, rule: str) -> None:
    records = written(batch)
    assert not [each for each in records if each.topic == EXAMPLES]
    told = [dict(each.headers) for each in records if each.topic == REJECTED]
    assert [each["sightline-rule"].decode() for each in told] == [rule]
    assert b"wake me" not in b"".join(each["sightline-reason"] for each in told)


def test_a_run_learns_from_reviews_and_no_reviewer_turns_the_loop_back() -> None:
    reviews = [review("meant", i, meant="alarm_set", target=f"g1/answer/{i}") for i in range(2)]
    records = [each for each in written(*reviews) if each.topic == EXAMPLES]
    stored = [
        StoredRecord(i, each.timestamp_ms, each.key, each.value, tuple(each.headers))
        for i, each in enumerate(records)
    ]
    made, _ = train(stored, every=2)
    (run,) = build.lineage(made)["training_runs"]
    assert run["admitted"] == 2
    streams = {
        row["name"]: row["examples"]
        for row in build.lineage(made)["training_assets"]
        if row["kind"] == "stream"
    }
    assert streams == {"example-review": 2}
    crossing = build.crossing()
    codec = build.core()._codec
    candidates = [gate.judge(each, codec, crossing, lambda label, *_: label, build.T0_NS) for each in stored]
    assert [each.admitted for each in candidates] == [True, True]
    assert answers_of(candidates) == []
