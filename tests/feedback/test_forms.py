"""Spoken feedback and ratings mean what their annotations say; if they mean nothing, that is recorded."""

from __future__ import annotations

import pytest

from device_sim.recordings import rows
from streams.errors import MalformedError
from streams.feedback.forms import FORMS, meaning
from streams.topology import ANSWERS, EXAMPLES
from tests import build

T_NS = build.T0_NS


def columns(form: str, **said: object) -> dict[str, list[object]]:
    return {
        name: [said.get(name)]
        for name in ("target", "thumb", "chosen_intent", "text", "rating", "second_rating")
    } | {"form": [form]}


@pytest.mark.parametrize(
    ("heard", "intent", "rule"),
    [
        (("general_praise", 0.9), "alarm_set", ""),
        (("general_praise", 0.2), None, "not-understood"),
        (("general_negate", 0.9), None, "negated"),
        (("general_repeat", 0.3), None, "asked-again"),
        (("general_commandstop", 0.9), None, "stopped"),
        (("weather_query", 0.9), None, "not-understood"),
    ],
)
def test_what_is_spoken(heard: tuple[str, float], intent: str | None, rule: str) -> None:
    meant = meaning(columns("spoken", text="whatever"), "alarm_set", heard)
    assert (meant.intent, meant.rule, meant.by_model) == (intent, rule, intent is not None)
    assert "whatever" not in meant.reason


@pytest.mark.parametrize(
    ("ratings", "intent", "rule"),
    [
        ((4, 3), "alarm_set", ""),
        ((3, 2), None, "raters-disagree"),
        ((1, 4), None, "raters-disagree"),
        ((2, 1), None, "rated-low"),
    ],
)
def test_ratings(ratings: tuple[int, int], intent: str | None, rule: str) -> None:
    meant = meaning(columns("rating", rating=ratings[0], second_rating=ratings[1]), "alarm_set", None)
    assert (meant.intent, meant.rule, meant.by_model) == (intent, rule, False)


@pytest.mark.parametrize(
    "said",
    [
        columns("smile"),
        columns("spoken"),
        columns("rating", rating=5, second_rating=1),
        columns("rating", rating=3),
        columns("thumb"),
        columns("choice", chosen_intent="Not A Name"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(said: dict[str, list[object]]) -> None:
    with pytest.raises(MalformedError, match=r"form|text|rating|chosen_intent") as error:
        meaning(said, "alarm_set", None)
    assert said["form"] != ["smile"] or all(form in str(error.value) for form in FORMS)


def test_version_1_understands_most_praise_and_takes_hardly_a_denial_for_praise() -> None:
    serving = build.version(build.core()).model
    found = rows("nlu-spoken-feedback")
    heard = serving.predict([row["utterance"] for row in found])
    confirmed = [
        row["intent"]
        for row, one in zip(found, heard, strict=True)
        if meaning(columns("spoken", text="x"), "alarm_set", one).intent is not None
    ]
    praises = sum(row["intent"] == "general_praise" for row in found)
    assert confirmed.count("general_praise") >= 0.7 * praises
    assert len(confirmed) - confirmed.count("general_praise") <= 0.03 * (len(found) - praises)


def test_praise_confirms_the_answer_and_its_example_names_the_model_that_understood_it() -> None:
    praise = next(
        row["utterance"]
        for row in rows("nlu-spoken-feedback")
        if row["intent"] == "general_praise"
        and meaning(
            columns("spoken", text="x"), "a", build.version(build.core()).model.predict([row["utterance"]])[0]
        ).intent
    )
    spoken = build.batch(
        "feedback",
        None,
        0,
        1,
        t0_ns=T_NS + 10**9,
        columns={"target": ["g1/answer/0"], "form": ["spoken"], "text": [praise]},
    )
    denied = build.batch(
        "feedback",
        None,
        1,
        1,
        t0_ns=T_NS + 2 * 10**9,
        columns={"target": ["g1/answer/0"], "form": ["rating"], "rating": [1], "second_rating": [4]},
    )
    records, _ = build.process(
        build.core(),
        [build.fetch([build.query(0, "wake me at seven", T_NS)]), build.fetch([spoken, denied], 1)],
    )
    lineage = build.lineage(records)
    parents = {
        (edge["parent_source"], edge["parent_stream"], edge["directness"])
        for edge in lineage["edges"]
        if edge["operator"] == "example"
    }
    assert parents == {
        ("g1", "feedback", "direct"),
        ("g1", "answer", "direct"),
        ("g1", "voice-query", "direct"),
        ("training", "intent-model", "indirect"),
    }
    assert sum(record.topic == EXAMPLES for record in records) == 1
    refused = [(row["source"], row["stream"], row["first"], row["rule"]) for row in lineage["rejected"]]
    assert refused == [("g1", "example", 1, "raters-disagree")]
    assert praise not in str(lineage)


def test_an_erasure_request_is_answered_with_a_sentence_and_is_no_answer_for_feedback() -> None:
    request = build.batch(
        "erasure_request", None, 7, 1, t0_ns=T_NS, columns={"reason": ["moved-out"]}, consent=0
    )
    records, state = build.process(build.core(), [build.fetch([request])])
    answers = [record for record in records if record.topic == ANSWERS]
    assert len(answers) == 1
    assert b"Your request is recorded as g1/erasure-request/7. Nothing is erased yet." in (
        answers[0].value or b""
    )
    headers = dict(answers[0].headers)
    assert (headers["ce_id"], headers["sightline-zone"]) == (b"g1/answer-erasure-request/7", b"rights")
    assert state.devices["g1"].answers == ()
