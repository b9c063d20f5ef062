"""Stage 3 on erasure requests: each is answered once, in its zone and with its label, without a model."""

from __future__ import annotations

import orjson
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.events.headers import LABEL, PARENTS, ZONE, unpack_parents
from streams.events.record import Outgoing
from streams.policy import label as lattice
from streams.policy.load import parse
from streams.topology import ANSWERS, EXAMPLES, REJECTED
from tests import build

T_NS = build.T0_NS + 5_000_000_000


def request(
    first: int = 3, count: int = 1, *, stream: str = "erasure-request", reason: str = "a-secret-reason"
) -> Batch:
    """Erasure requests without any consent, because a right does not depend on consent."""
    return replace(
        build.batch(
            "erasure_request",
            stream,
            first,
            count,
            t0_ns=T_NS + first,
            columns={"reason": [reason] * count},
            consent=0,
        ),
        dt_ns=1,
    )


def answers(*batches: Batch) -> list[Outgoing]:
    records, _ = build.process(build.core(), [build.fetch(batches)])
    return [record for record in records if record.topic == ANSWERS]


def test_the_answer_says_what_became_of_the_request_and_descends_from_it_alone() -> None:
    answer = answers(request())[0]
    headers, fields = dict(answer.headers), orjson.loads(answer.value or b"")
    assert headers["ce_id"] == b"g1/answer-erasure-request/3"
    assert headers[ZONE] == b"rights"
    assert fields["columns"] == {
        "intent": ["erasure_request"],
        "confidence": [1.0],
        "model_version": [0],
        "text": ["Your request is recorded as g1/erasure-request/3. Nothing is erased yet."],
    }
    assert [
        (p.source, p.stream, p.first, p.directness) for p in unpack_parents("g1", 3, headers[PARENTS])
    ] == [("g1", "erasure-request", 3, "direct")]
    assert b"secret" not in (answer.value or b"")


def test_the_answers_label_is_the_requests_joined_with_what_an_answer_is() -> None:
    policy = build.policy()
    of_request = policy.label_of("erasure_request", "rights") or b""
    found = bytes.fromhex(dict(answers(request())[0].headers)[LABEL].decode().partition(":")[2])
    assert not lattice.loosens(of_request, found)
    assert policy.describe(found) == {
        **policy.describe(of_request),
        "nature": "inferred",
        "categories": "pd:Intention, pd:PrivacyPreference",
    }


def test_every_request_of_a_batch_and_of_every_incarnation_has_an_answer_of_its_own() -> None:
    found = answers(request(0, 3), request(1, stream="erasure-request~2"))
    assert [dict(one.headers)["ce_id"] for one in found] == [
        *(f"g1/answer-erasure-request/{number}".encode() for number in range(3)),
        b"g1/answer-erasure-request~2/1",
    ]
    assert [b"g1/erasure-request/1." in (one.value or b"") for one in found] == [False, True, False, False]
    assert b"g1/erasure-request~2/1." in (found[3].value or b"")


def test_answers_to_queries_and_requests_come_in_the_order_of_the_partition() -> None:
    found = answers(
        request(0),
        build.query(0, "will it rain", T_NS + 10),
        request(1),
        build.query(1, "wake me at seven", T_NS + 20),
    )
    assert [dict(one.headers)["ce_id"].decode() for one in found] == [
        "g1/answer-erasure-request/0",
        "g1/answer/0",
        "g1/answer-erasure-request/1",
        "g1/answer/1",
    ]
    assert [orjson.loads(one.value or b"")["columns"]["text"][0] is None for one in found] == [
        False,
        True,
        False,
        True,
    ]


def test_feedback_on_it_makes_no_example() -> None:
    batches = [request(), build.feedback(0, "g1/answer-erasure-request/3", "alarm_set", T_NS + 10**9)]
    records, state = build.process(build.core(), [build.fetch(batches)])
    assert not [record for record in records if record.topic == EXAMPLES]
    refused = [dict(record.headers) for record in records if record.topic == REJECTED]
    assert [(one["sightline-rule"], one["ce_id"]) for one in refused] == [(b"feedback", b"g1/example/0")]
    assert b"names no answer of this device" in refused[0]["sightline-reason"]
    assert state.devices["g1"].answers == ()


def test_a_policy_that_may_not_deliver_it_keeps_it_and_the_decision_says_so() -> None:
    before, sink, after = build.policy().text.partition(f'name = "{ANSWERS}"')
    strict = parse(
        before + sink + after.replace("dpv:RequestedServiceProvision", "ai:ModelTraining", 1), "strict"
    )
    records, _ = build.process(build.core(strict), [build.fetch([request()])])
    assert not [record for record in records if record.topic == ANSWERS]
    refused = [row for row in build.lineage(records)["decisions"] if row["verdict"] != "allow"]
    assert [(row["stream"], row["first"], row["sink"]) for row in refused] == [
        ("answer-erasure-request", 3, ANSWERS)
    ]
