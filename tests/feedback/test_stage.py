"""Stage 4 over whole fetches, however they are cut.

Every form is compared with the annotations of the recordings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from device_sim.recordings import rows
from streams.events.batch import Batch
from streams.events.headers import LABEL, PARENTS, ZONE, unpack_parents
from streams.events.record import Outgoing
from streams.feedback.forms import ACCEPTABLE, FORMS, meaning
from streams.models.intent import IntentModel
from streams.policy import label as lattice
from streams.topology import ANSWERS, EXAMPLES, LINEAGE, REJECTED
from tests import build

CORE = build.core()
T_NS = build.T0_NS
SECOND_NS = 1_000_000_000
SPOKEN = [(row["utterance"], row["intent"]) for row in rows("nlu-spoken-feedback")]
NO_EXAMPLE = {"general_negate": "negated", "general_repeat": "asked-again", "general_commandstop": "stopped"}


def reaction(number: int, target: str, t0_ns: int, form: str, *, source: str = "g1", **said: Any) -> Batch:
    columns = {name: [value] for name, value in said.items()}
    return build.batch(
        "feedback",
        None,
        number,
        1,
        t0_ns=t0_ns,
        source=source,
        columns={"target": [target], "form": [form], "thumb": [0], **columns},
    )


def of_topic(records: Sequence[Outgoing], *topics: str) -> list[Outgoing]:
    return [record for record in records if record.topic in topics]


def rule(record: Outgoing) -> str:
    return dict(record.headers)["sightline-rule"].decode()


def test_what_version_1_makes_of_all_spoken_feedback_is_what_the_annotations_mean() -> None:
    """An example is correct if it is annotated as praise; a reject, if it has the annotated intent's rule."""
    batches = [build.query(0, "wake me at seven", T_NS)]
    batches += [
        reaction(i, "g1/answer/0", T_NS + (i + 1) * SECOND_NS, "spoken", text=text)
        for i, (text, _) in enumerate(SPOKEN)
    ]
    records, _ = build.process(CORE, [build.fetch(batches)])
    made = {orjson.loads(record.value or b"")["first"] for record in of_topic(records, EXAMPLES)}
    rules = {
        int(dict(record.headers)["ce_id"].rpartition(b"/")[2]): rule(record)
        for record in of_topic(records, REJECTED)
    }
    assert made | rules.keys() == set(range(len(SPOKEN)))
    assert not made & rules.keys()
    assert [SPOKEN[i] for i in made if SPOKEN[i][1] != "general_praise"] == []
    right = sum(
        i in made if intent == "general_praise" else rules.get(i) == NO_EXAMPLE[intent]
        for i, (_, intent) in enumerate(SPOKEN)
    )
    assert right / len(SPOKEN) >= 0.93


def test_a_spoken_example_is_at_least_as_restricted_as_the_version_that_understood_it() -> None:
    served = build.version(CORE)
    narrow = lattice.unpack(served.label)
    narrow["obligations"] |= build.policy().vocabulary.mask("obligations", ("local:NoExport",))
    core = build.serving(dataclasses.replace(served, label=lattice.pack(**narrow), zone="health"))
    found = {}
    for form, said in (
        ("spoken", {"text": sure_praise(served.model)}),
        ("rating", {"rating": 4, "second_rating": 3}),
    ):
        asked = build.fetch([build.query(0, "wake me at seven", T_NS)])
        _, state = build.process(CORE, [asked])
        records, _ = build.process(
            core, [build.fetch([reaction(0, "g1/answer/0", T_NS + SECOND_NS, form, **said)], 1)], state
        )
        found[form] = dict(of_topic(records, EXAMPLES)[0].headers)
    labels = {
        form: bytes.fromhex(headers[LABEL].decode().partition(":")[2]) for form, headers in found.items()
    }
    assert labels["spoken"] == lattice.join((labels["rating"], lattice.pack(**narrow)))
    assert labels["spoken"] != labels["rating"]
    assert (found["spoken"][ZONE], found["rating"][ZONE]) == (b"health", b"voice-assistant")
    parents = [
        [(p.source, p.stream, p.first) for p in unpack_parents("g1", 0, found[form][PARENTS])]
        for form in ("rating", "spoken")
    ]
    assert parents[0] == [("g1", "feedback", 0), ("g1", "answer", 0), ("g1", "voice-query", 0)]
    assert parents[1] == [*parents[0], ("training", "intent-model", served.version)]


def test_answers_of_before_a_log_was_made_again_and_of_after_it_get_feedback() -> None:
    """Offsets begin at 0 again: what was answered at higher ones was before."""
    asked = [build.query(number, "wake me at seven", T_NS + number * SECOND_NS) for number in range(4)]
    _, state = build.process(CORE, [build.fetch(asked[:3], 1000)])
    told = [
        reaction(
            number,
            f"g1/answer/{number}",
            T_NS + (9 + number) * SECOND_NS,
            "rating",
            rating=4,
            second_rating=3,
        )
        for number in range(4)
    ]
    here = CORE.moved(state, 0)
    assert CORE.moved(state, 2000) == state, "only what would come later is moved"
    records, _ = build.process(CORE, [build.fetch([asked[3], *told])], CORE.restore(0, CORE.save(None, here)))
    assert [dict(one.headers)["ce_id"] for one in of_topic(records, EXAMPLES)] == [
        b"g1/example/%d" % number for number in range(4)
    ]
    assert not of_topic(records, REJECTED)


def sure_praise(model: IntentModel) -> str:
    return next(
        text for text, intent in SPOKEN if intent == "general_praise" and model.predict([text])[0][1] > 0.5
    )


def test_one_batch_with_many_forms_is_judged_event_by_event_in_one_prediction(monkeypatch: Any) -> None:
    asked: list[int] = []
    predict = IntentModel.predict

    def counted(self: IntentModel, utterances: Sequence[str], *matrix: Any) -> list[tuple[str, float]]:
        asked.append(len(utterances))
        return predict(self, utterances, *matrix)

    monkeypatch.setattr(IntentModel, "predict", counted)
    praise, negate = (
        next(text for text, intent in SPOKEN if intent == wanted)
        for wanted in ("general_praise", "general_negate")
    )
    columns: dict[str, list[Any]] = {
        "target": ["g1/answer/0"] * 6,
        "form": ["spoken", "thumb", "spoken", "rating", "smoke-signal", "spoken"],
        "thumb": [0] * 6,
        "chosen_intent": [None, "alarm_set", None, None, None, None],
        "text": [negate, None, praise, None, "zanzibar", "  "],
        "rating": [None, None, None, 2, None, None],
        "second_rating": [None, None, None, 4, None, None],
    }
    many = build.batch("feedback", None, 4, 6, t0_ns=T_NS + SECOND_NS, columns=columns)
    records, _ = build.process(CORE, [build.fetch([build.query(0, "wake me at seven", T_NS), many])])
    assert asked == [1, 2]
    assert [orjson.loads(record.value or b"")["first"] for record in of_topic(records, EXAMPLES)] == [5, 6]
    refused = of_topic(records, REJECTED)
    assert [(dict(one.headers)["ce_id"], rule(one)) for one in refused] == [
        (b"g1/example/4", "negated"),
        (b"g1/example/7", "raters-disagree"),
        (b"g1/example/8", "feedback"),
        (b"g1/example/9", "feedback"),
    ]
    assert f"expected one of {', '.join(FORMS)}".encode() in dict(refused[2].headers)["sightline-reason"]
    for record in of_topic(records, LINEAGE, REJECTED):
        for said in (praise, negate, "zanzibar", "smoke"):
            assert said.encode() not in (record.value or b"") + b"".join(value for _, value in record.headers)


def test_a_device_that_lost_its_counters_goes_on_in_streams_of_their_own() -> None:
    batches = [
        build.gives(1, 0, T_NS, "consent-change~2"),
        replace(build.query(0, "wake me at seven", T_NS), stream="voice-query~2"),
        replace(
            reaction(0, "g1/answer~2/0", T_NS + SECOND_NS, "rating", rating=3, second_rating=4),
            stream="feedback~2",
        ),
        replace(
            reaction(1, "g1/answer~2/0", T_NS + 2 * SECOND_NS, "rating", rating=1, second_rating=1),
            stream="feedback~2",
        ),
    ]
    records, _ = build.process(CORE, [build.fetch(batches)])
    assert [dict(record.headers)["ce_id"] for record in of_topic(records, EXAMPLES, REJECTED)] == [
        b"g1/example~2/0",
        b"g1/example~2/1",
    ]


_RATING = st.integers(0, 5)
_SPOKEN = st.tuples(
    st.just("spoken"), st.fixed_dictionaries({"text": st.sampled_from([text for text, _ in SPOKEN])})
)
SAID: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    _SPOKEN,
    _SPOKEN,
    st.just(("thumb", {"chosen_intent": "alarm_set"})),
    st.just(("smile", {})),
    st.tuples(st.just("rating"), st.fixed_dictionaries({"rating": _RATING, "second_rating": _RATING})),
)


@st.composite
def lives(draw: st.DrawFn) -> list[Batch]:
    """Two devices' queries, erasure requests, and feedback of every form on answers that exist or not."""
    batches: list[Batch] = []
    numbers = {(source, kind): 0 for source in ("g1", "g2") for kind in ("query", "feedback", "request")}
    for tick in range(draw(st.integers(1, 25))):
        source = draw(st.sampled_from(("g1", "g2")))
        what = draw(st.sampled_from(("query", "feedback", "feedback", "feedback", "request")))
        number, t_ns = numbers[source, what], T_NS + tick * 200_000_000
        numbers[source, what] += 1
        if what == "query":
            asked = draw(st.sampled_from(("wake me at seven", "will it rain", "play jazz")))
            batches.append(build.query(number, asked, t_ns, source=source))
        elif what == "request":
            batches.append(build.batch("erasure_request", None, number, 1, t0_ns=t_ns, source=source))
        else:
            target = f"{source}/answer/{draw(st.integers(0, numbers[source, 'query']))}"
            form, said = draw(SAID)
            batches.append(reaction(number, target, t_ns, form, source=source, **said))
    return batches


def facts(records: Sequence[Outgoing]) -> list[tuple[Any, ...]]:
    """Answers, examples and rejects in the order of each topic.

    The positions in their headers must not depend on how fetches are cut.
    """
    return [
        (topic, record.key, record.value, tuple(record.headers))
        for topic in (ANSWERS, EXAMPLES, REJECTED)
        for record in of_topic(records, topic)
    ]


@settings(max_examples=60, deadline=None)
@given(lives(), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_nothing_depends_on_how_fetches_were_cut_and_every_feedback_has_an_end(
    batches: list[Batch], sizes: list[int]
) -> None:
    whole, end = build.process(CORE, [build.fetch(batches)])
    parts, end_of_parts = build.process(CORE, build.cut(batches, sizes))
    assert facts(parts) == facts(whole)
    states = [{name: state.dump() for name, state in last.devices.items()} for last in (end_of_parts, end)]
    assert states[0] == states[1]
    ends = [dict(record.headers)["ce_id"].decode() for record in of_topic(whole, EXAMPLES, REJECTED)]
    assert sorted(ends) == sorted(
        f"{one.source}/example/{one.run.first}" for one in batches if one.kind == "feedback"
    )
    assert len(of_topic(whole, ANSWERS)) == sum(one.kind != "feedback" for one in batches)


def test_an_example_has_the_language_of_its_query_and_how_much_raters_agree() -> None:
    batches = [
        replace(
            build.query(i, f"wake me at {i}", T_NS + i * SECOND_NS),
            columns={"text": [f"wake me at {i}"], "trigger": ["button"], "language": [language]},
        )
        for i, language in enumerate(["en", "de", "en"])
    ]
    batches += [
        reaction(0, "g1/answer/0", T_NS + 10 * SECOND_NS, "rating", rating=4, second_rating=4),
        reaction(1, "g1/answer/1", T_NS + 11 * SECOND_NS, "rating", rating=3, second_rating=4),
        reaction(2, "g1/answer/2", T_NS + 12 * SECOND_NS, "thumb", thumb=1, chosen_intent="alarm_set"),
    ]
    records, _ = build.process(CORE, [build.fetch(batches, 0)])
    made = [orjson.loads(record.value or b"")["columns"] for record in of_topic(records, EXAMPLES)]
    assert [(columns["language"], columns["agreement"]) for columns in made] == [
        (["en"], [1.0]),
        (["de"], [0.667]),
        (["en"], [None]),
    ]


def test_ratings_that_people_gave_agree_as_cohens_linear_weights_say() -> None:
    """Every pair of ratings of the recording that makes an example, against the published weights."""
    pairs = {(int(row["rating"]), int(row["second_rating"])) for row in rows("feedbackqa-ratings")}
    for first, second in sorted(pairs):
        columns: dict[str, list[Any]] = {"form": ["rating"], "rating": [first], "second_rating": [second]}
        meant = meaning(columns, "alarm_set", None)
        if min(first, second) >= ACCEPTABLE:
            assert meant.agreement == round({0: 1, 1: 2 / 3, 2: 1 / 3, 3: 0}[abs(first - second)], 3)
        else:
            assert (meant.intent, meant.agreement) == (None, None)


def test_what_feedback_says_is_shown_to_who_is_shown_the_answer_too() -> None:
    """Feedback at home about an answer in a clinic tells of the clinic."""
    batches = [
        build.query(0, "wake me at seven", T_NS, place="clinic"),
        build.feedback(0, "g1/answer/0", "alarm_set", T_NS + SECOND_NS, place="home"),
    ]
    records, _ = build.process(CORE, [build.fetch(batches, 0)])
    rows = build.lineage(records)
    zones = {row["kind"]: row["zone"] for row in rows["events"] if row["kind"] in {"answer", "feedback"}}
    assert zones == {"answer": "health", "feedback": "voice-assistant"}
    (opinion,) = rows["feedback"]
    assert opinion["zone"] == "health"
    shown = build.policy().flow(opinion["zone"], bytes.fromhex(opinion["label"]), "ask:analyst")
    assert shown.verdict == "deny"
