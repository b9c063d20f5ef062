"""Stages 3 and 4: answers cite situation and model, feedback is matched to its answer, nothing is silent."""

from __future__ import annotations

from typing import Any

import orjson

from streams.events.headers import PARENTS, unpack_parents
from streams.events.record import Outgoing
from streams.topology import ANSWERS, EXAMPLES, LINEAGE, REJECTED
from tests import build

T = build.T0_NS + 5_000_000_000


def conversation(target: str = "g1/answer/7", chosen: str = "alarm_set", **around: Any) -> list[Outgoing]:
    batches = [
        *(build.imu(1.2, i * 20, 20) for i in range(5)),
        build.query(7, "wake me at seven", T, **around),
        build.feedback(3, target, chosen, T + 1_000_000_000, **around),
    ]
    records, _ = build.process(build.core(), [build.fetch(batches[:6]), build.fetch(batches[6:], 6)])
    return records


def only(records: list[Outgoing], topic: str) -> Outgoing:
    found = [record for record in records if record.topic == topic]
    assert len(found) == 1
    return found[0]


def test_an_answer_cites_query_situation_and_model() -> None:
    answer = only(conversation(), ANSWERS)
    headers = dict(answer.headers)
    assert headers["ce_id"] == b"g1/answer/7"
    assert [(p.source, p.stream, p.first) for p in unpack_parents("g1", 7, headers[PARENTS])] == [
        ("g1", "voice-query", 7),
        ("g1", "situation", 7),
        ("training", "intent-model", 1),
    ]
    columns = orjson.loads(answer.value or b"")["columns"]
    assert columns["model_version"] == [1]
    assert 0 < columns["confidence"][0] <= 1


def test_an_example_is_the_utterance_and_the_chosen_intent() -> None:
    example = only(conversation(), EXAMPLES)
    headers = dict(example.headers)
    columns = orjson.loads(example.value or b"")["columns"]
    assert headers["ce_id"] == b"g1/example/3"
    assert (columns["utterance"], columns["intent"]) == (["wake me at seven"], ["alarm_set"])
    assert [(p.stream, p.first) for p in unpack_parents("g1", 3, headers[PARENTS])] == [
        ("feedback", 3),
        ("answer", 7),
        ("voice-query", 7),
    ]


def test_feedback_about_nothing_makes_no_example_and_says_so() -> None:
    for target, chosen, reason in (
        ("g1/answer/8", "alarm_set", "names no answer of this device"),
        ("g2/answer/7", "alarm_set", "names no answer of this device"),
        ("rubbish", "alarm_set", "expected source/stream/number"),
        ("g1/answer/7", "Not-An-Intent", "chosen_intent: found no name"),
    ):
        records = conversation(target, chosen)
        assert not [record for record in records if record.topic == EXAMPLES]
        rejected = dict(only(records, REJECTED).headers)
        assert reason in rejected["sightline-reason"].decode()
        assert rejected["ce_id"] == b"g1/example/3"


def test_feedback_may_be_about_an_earlier_answer() -> None:
    batches = [
        build.query(7, "wake me at seven", T),
        build.query(8, "will it rain", T + 1),
        build.feedback(3, "g1/answer/7", "alarm_set", T + 1_000_000_000),
    ]
    records, _ = build.process(build.core(), [build.fetch(batches)])
    assert orjson.loads(only(records, EXAMPLES).value or b"")["columns"]["utterance"] == ["wake me at seven"]


def test_no_words_and_no_values_enter_the_lineage() -> None:
    for record in conversation():
        if record.topic == LINEAGE:
            for secret in (b"wake", b"seven", b"alarm_set", b"9.8", b"8.6"):
                assert secret not in (record.value or b"")


def test_a_bystander_taints_situation_answer_and_example() -> None:
    records = conversation(place="street", people_near="strangers")
    for topic in (ANSWERS, EXAMPLES):
        assert dict(only(records, topic).headers)["sightline-zone"] == b"bystander-present"
