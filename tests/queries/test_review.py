"""What a person should look at, from the store alone: which answers, why, and whether somebody did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.events.identity import EventId
from streams.limits import OPEN_ANSWERS_MAX
from streams.queries.review import next_number, outcome_of, queue, review_stream, reviewable
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import POLICY, edge, event, row, store, stream, tagged

OFFICER = Role("privacy-officer")
QUERY = tagged("voice_query", "voice-assistant")
#: Meanings of the feedback on each answer, in order; a review is marked.
FEEDBACK = {
    0: ["confirmed"],
    1: ["denied"],
    2: ["denied", "corrected"],
    3: ["confirmed", "denied"],
    4: ["unclear"],
    5: ["denied", "review:corrected"],
    6: ["confirmed", "corrected"],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    queries = [event("g1", "voice-query", number, wearer="w1", **QUERY) for number in range(8)]
    answers = [
        event("g1", "answer", number, wearer="w1", **{**QUERY, "kind": "answer"}) for number in range(7)
    ]
    meant = [
        row(
            "feedback",
            source="g1",
            stream="review" if meaning.startswith("review:") else "feedback",
            first=10 * number + at,
            answer_stream="answer",
            answer=number,
            version=1,
            form="review" if meaning.startswith("review:") else "thumb",
            meaning=meaning.rpartition(":")[2],
            wearer="w1",
            **{name: value for name, value in QUERY.items() if name in ("zone", "label", "policy_version")},
        )
        for number, meanings in FEEDBACK.items()
        for at, meaning in enumerate(meanings)
    ]
    withheld = row(
        "rejected",
        source="g1",
        stream="answer",
        first=7,
        count=1,
        stage="assistant",
        rule="withheld.appointments",
        zone="voice-assistant",
        wearer="w1",
        policy_version=QUERY["policy_version"],
    )
    reviewed = event("g1", "review", 51, wearer="w1", offset=900, **{**QUERY, "kind": "review"})
    place = {"topic": "glasses.captured", "partition": 0, "offset": 901, "stage": "zones"}
    refused = row(
        "rejected", source="g1", stream="review", first=52, count=1, rule="consent", reason="over", **place
    )
    example = event("g1", "example-review", 51, wearer="w1", **{**QUERY, "kind": "example"})
    made = edge(("g1", "example-review", 51), ("g1", "review", 51), operator="example")
    return store(
        tmp_path_factory.mktemp("review") / "s",
        {
            "policies": [POLICY],
            "streams": [
                stream("g1", "voice-query", "voice_query"),
                stream("g1", "review", "review"),
                stream("g1", "example-review", "example"),
            ],
            "events": [*queries, *answers, reviewed, example],
            "edges": [made],
            "feedback": meant,
            "rejected": [withheld, refused],
        },
    )


def test_what_feedback_denies_or_contradicts_and_what_was_withheld_is_in_the_queue(path: Path) -> None:
    with Store.open(path, OFFICER) as opened:
        made = queue(opened)
    assert [(each.id, each.why, each.state) for each in made.answers] == [
        ("g1/answer/1", "denied", "open"),
        ("g1/answer/3", "contradictory", "open"),
        ("g1/answer/6", "contradictory", "open"),
        ("g1/answer/7", "withheld", "open"),
    ], "where somebody said what was meant, nobody needs to look"


def test_what_a_model_was_not_sure_of_is_named_by_who_knows(path: Path) -> None:
    with Store.open(path, OFFICER) as opened:
        items = reviewable(opened, [EventId("g1", "answer", 0), EventId("g1", "answer", 5)])
        nothing = reviewable(opened, [EventId("g1", "answer", 99)])
    assert Counter((each.why, each.reviewed) for each in items)["unsure", True] == 1
    assert [each.query for each in items if each.why == "unsure"] == ["g1/voice-query/0", "g1/voice-query/5"]
    assert len(nothing) == 4


def test_what_a_device_no_longer_remembers_is_not_in_the_queue(tmp_path: Path) -> None:
    numbers = range(OPEN_ANSWERS_MAX + 1)
    rows = {
        "policies": [POLICY],
        "events": [
            event("g1", stream_name, number, wearer="w1", **{**QUERY, "kind": kind})
            for stream_name, kind in (("voice-query~2", "voice_query"), ("answer~2", "answer"))
            for number in numbers
        ],
    }
    with Store.open(store(tmp_path / "s", rows), OFFICER) as opened:
        items = reviewable(opened, [EventId("g1", "answer~2", number) for number in numbers])
        nothing = reviewable(opened, [EventId("g1", "voice-query~2", 5), EventId("g1", "answer", 5)])
    assert [each.number for each in items] == list(numbers)[1:]
    assert {each.query_stream for each in items} == {"voice-query~2"}
    assert nothing == [], "what is no answer is none"


def test_a_wearer_is_shown_her_own_and_another_none(path: Path) -> None:
    seen = {}
    for name in ("wearer:w1", "wearer:w2"):
        with Store.open(path, Role.of(name)) as opened:
            seen[name] = len(queue(opened).answers)
    assert seen == {"wearer:w1": 4, "wearer:w2": 0}


def test_numbers_go_on_behind_what_was_accepted_or_refused(path: Path) -> None:
    with Store.open(path, OFFICER) as opened:
        assert next_number(opened, "g1", "review") == 53
        assert next_number(opened, "g9", "review") == 0
        made = outcome_of(opened, EventId("g1", "review", 51), 0, 900)
        refused = outcome_of(opened, EventId("g1", "review", 52), 0, 901)
        assert outcome_of(opened, EventId("g1", "review", 51), 0, 902) is None, "another one has the number"
        assert outcome_of(opened, EventId("g1", "review", 54), 0, 903) is None
    assert made is not None
    assert refused is not None
    assert (made.example, made.reason) == ("g1/example-review/51", "")
    assert (refused.example, refused.rule, refused.reason) == ("", "consent", "over")
    assert (review_stream("voice-query"), review_stream("voice-query~3")) == ("review", "review~3")


def test_a_store_of_before_has_no_queue_and_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.queries.review.has_view", lambda *_: False)
    with Store.open(path, OFFICER) as opened:
        assert not queue(opened).answers
        with pytest.raises(InputError, match="does not keep what feedback says"):
            reviewable(opened)
