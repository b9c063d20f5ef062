"""What the assistant may say: a withheld answer is a sentence and a reject; an unsure one says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.assistant import stage, withheld
from streams.assistant.stage import UNSURE
from streams.errors import InputError
from streams.events.headers import LABEL, PARENTS, ZONE, unpack_parents
from streams.events.record import Outgoing
from streams.events.runs import Parent
from streams.policy.condition import Condition
from streams.policy.crossing import Cited
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.rules import Withheld
from streams.topology import ANSWERS, EXAMPLES, REJECTED
from tests import build

T_NS = build.T0_NS + 5_000_000_000
STRANGERS = "people_near == 'strangers'"


def text_with(*when: str, percent_min: int = 0) -> str:
    rules = [
        f'[[withheld]]\nname = "rule-{at}"\nabout = "Others would hear it."\nwhen = "{each}"\n'
        for at, each in enumerate(when)
    ]
    tables = "\n".join([f"[assistant]\nconfidence_percent_min = {percent_min}\n", *rules])
    return build.policy().text.replace("[[zones]]", f"{tables}\n[[zones]]", 1)


def with_rules(*when: str, percent_min: int = 0) -> Policy:
    return parse(text_with(*when, percent_min=percent_min), "strict")


def played(policy: Policy, *, feedback: str = "", **around: Any) -> list[Outgoing]:
    """What comes of one query, in a context, and of feedback on an event."""
    batches = [build.query(0, "what is the weather like today", T_NS, **around)]
    if feedback:
        batches.append(build.feedback(0, feedback, "alarm_set", T_NS + 10**9, **around))
    return build.process(build.core(policy), [build.fetch(batches)])[0]


def answers(records: list[Outgoing]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (dict(record.headers)["ce_id"].decode(), orjson.loads(record.value or b"")["columns"])
        for record in records
        if record.topic == ANSWERS
    ]


def rejects(records: list[Outgoing]) -> list[tuple[str, str, str]]:
    heads = [dict(record.headers) for record in records if record.topic == REJECTED]
    names = ("ce_id", "sightline-rule", "sightline-reason")
    return [(each[names[0]].decode(), each[names[1]].decode(), each[names[2]].decode()) for each in heads]


def test_a_sentence_stands_for_a_withheld_answer_and_a_reject_says_why() -> None:
    records = played(with_rules(STRANGERS), people_near="strangers")
    [(identity, columns)] = answers(records)
    assert identity == "g1/answer-voice-query/0"
    assert (columns["intent"], columns["text"]) == ([withheld.INTENT], [withheld.SENTENCE])
    assert rejects(records) == [
        (
            "g1/answer/0",
            "withheld.rule-0",
            "Others would hear it. Whether an answer is said depends on people_near.",
        )
    ]
    assert answers(played(with_rules(STRANGERS), people_near="nobody"))[0][0] == "g1/answer/0"


def test_the_sentence_inherits_all_that_the_answer_would_have() -> None:
    said, silent = (
        next(dict(record.headers) for record in records if record.topic == ANSWERS)
        for records in (
            played(build.policy(), people_near="strangers"),
            played(with_rules(STRANGERS), people_near="strangers"),
        )
    )
    assert said[LABEL].partition(b":")[2] == silent[LABEL].partition(b":")[2]
    assert unpack_parents("g1", 0, said[PARENTS]) == unpack_parents("g1", 0, silent[PARENTS])
    assert len(unpack_parents("g1", 0, silent[PARENTS])) == 3


@pytest.mark.parametrize(
    "target", ["g1/answer/0", "g1/answer-voice-query/0"], ids=["the answer", "the sentence"]
)
def test_nothing_is_learned_from_what_was_not_said(target: str) -> None:
    records = played(with_rules(STRANGERS), feedback=target, people_near="strangers")
    assert not [record for record in records if record.topic == EXAMPLES]
    assert [rule for _, rule, _ in rejects(records)] == ["withheld.rule-0", "feedback"]


@pytest.mark.parametrize(
    ("when", "around", "silent"),
    [
        ("intent == 'weather_query'", {}, True),
        ("intent == 'play_music'", {}, False),
        ("intent in ['play_music', 'weather_query'] && place == 'home'", {}, True),
        ("'pd:Health' in categories", {"place": "clinic"}, True),
        ("'pd:Health' in categories", {"place": "street"}, False),
        ("zone == 'health' && minor_near", {"place": "clinic", "minor_near": True}, True),
        ("confidence_percent < 100", {}, True),
        ("confidence_percent > 50", {}, True),
        ("confidence_percent >= 71 && confidence_percent < 72", {}, True),
        ("intent.startsWith('weather')", {}, True),
        ("zone.contains('health')", {}, False),
        ("!('pd:Health' in categories)", {}, True),
        ("'pd:Intention' in categories && !('pd:Health' in categories)", {}, True),
        ("size(categories) > 20", {}, False),
        ("place == 'cafe' && people_near == 'strangers' && intent == 'weather_query' && worn", {}, False),
        ("confidence_percent > 99", {}, False),
    ],
)
def test_rules_look_at_the_answer_and_at_who_is_near(when: str, around: dict[str, Any], silent: bool) -> None:
    [(_, columns)] = answers(played(with_rules(when), **around))
    assert (columns["text"] == [withheld.SENTENCE]) is silent


def test_the_first_rule_that_holds_is_the_one_on_record() -> None:
    records = played(with_rules("place == 'clinic'", "worn", STRANGERS), people_near="strangers")
    assert [rule for _, rule, _ in rejects(records)] == ["withheld.rule-1"]


def test_the_reject_tells_neither_the_intent_nor_its_zone_wrongly() -> None:
    policy = with_rules("intent == 'weather_query' && place == 'clinic'")
    records = played(policy, place="clinic")
    [headers] = [dict(record.headers) for record in records if record.topic == REJECTED]
    said = next(dict(record.headers) for record in records if record.topic == ANSWERS)
    assert headers[ZONE] == said[ZONE] == b"health"
    # The policy's own text, which the lineage has once, names it.
    written = b"".join((record.value or b"") + repr(record.headers).encode() for record in records).replace(
        orjson.dumps(policy.text)[1:-1], b""
    )
    assert b"weather_query" not in written


def test_an_intent_that_the_policy_does_not_list_is_withheld_where_there_are_rules() -> None:
    listed = [intent for intent in build.policy().intents if intent != "weather_query"]
    without = replace(with_rules("place == 'clinic'"), intents=tuple(listed))
    query = build.query(0, "what is the weather like today", T_NS)
    answer = stage._answer(query, ("weather_query", 0.7), 1, 0)
    parents = (
        Cited(
            Parent("g1", "voice-query", 0, 1, 1),
            "public",
            build.policy().label_of("voice_query", "public") or b"",
            1,
            T_NS,
        ),
    )
    reject = withheld.reject_of(answer, query, parents, without)
    assert reject is not None
    assert reject.cause.rule == "withheld.unlisted"
    assert withheld.reject_of(answer, query, parents, build.policy()) is None


@given(st.integers(0, 100))
def test_confidences_are_whole_percent(percent: int) -> None:
    assert withheld.percent(percent / 100) == percent
    assert withheld.percent(percent / 100 + 0.0099) == percent


def test_a_rule_that_cannot_be_evaluated_withholds() -> None:
    assert Withheld("odd", "Nobody knows.", Condition("categories > 3")).holds({"categories": ()})


@pytest.mark.parametrize(("percent_min", "text"), [(100, UNSURE), (1, None)])
def test_an_answer_below_the_floor_says_so(percent_min: int, text: str | None) -> None:
    [(identity, columns)] = answers(played(with_rules(percent_min=percent_min)))
    assert (identity, columns["text"]) == ("g1/answer/0", [text])
    assert columns["intent"] != [withheld.INTENT]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (text_with("people_near == 'strangrs'"), "'strangrs' is nothing that these facts can be"),
        (text_with("intent == 'sing'"), "'sing' is nothing that these facts can be"),
        (text_with("'pd:Helth' in categories"), "did you mean 'pd:Health'"),
        (text_with("purpose == 'x'"), "'purpose' is not something that this condition may look at"),
        (text_with("confidence_percent > 'x'"), "is nothing that these facts can be"),
        (text_with("place > 3"), "does not type-check"),
        (text_with("worn && !worn"), "can never hold, so rule-0 withholds nothing"),
        (text_with("worn").replace("about = ", "abut = "), "abut"),
        (text_with("worn").replace("hear it.", "hear it." * 80), "'about' of a withheld rule has"),
        (text_with("worn").replace("rule-0", "r" * 65), "'name' of a withheld rule has 65"),
        (text_with("worn", "worn").replace("rule-1", "rule-0"), "'rule-0' stands twice in withheld"),
        (text_with(percent_min=101), "'confidence_percent_min' is 101, expected 0 to 100"),
        (
            text_with().replace("confidence_percent_min", "confidence"),
            "is not a field of the table assistant",
        ),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "strict.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load(str(path))
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_rules_count_into_the_steps_of_a_policy() -> None:
    loop = " || ".join(["zone == 'pd:Health'"] * 15)
    with pytest.raises(InputError, match="steps together for one event"):
        parse(text_with(*[f"categories.exists(zone, {loop})"] * 64), "strict")
