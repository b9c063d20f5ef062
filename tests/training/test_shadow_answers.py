"""A declined version answers in shadow: nobody hears it, and feedback judges it as what was heard."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from device_sim.draw import draw, utterances
from streams.events.record import Outgoing
from streams.feedback.forms import Meaning
from streams.lineage.tables import MODEL_CANDIDATE
from streams.models.intent import IntentModel, fit
from streams.models.pointer import Pointer
from streams.models.registry import ModelTable, ModelVersions
from streams.models.version import CURRENT_KEY, ModelVersion, version_key
from streams.pipeline.bootstrap import first_records
from streams.pipeline.live import LiveGlasses
from streams.policy.step import FeedbackMeaning
from streams.policy.versions import PolicyVersions
from streams.queries.store import Store
from streams.queries.usage import usage
from streams.replay.inputs import TakeUp
from streams.replay.recorded import _TakenUp
from streams.replay.stored import stored
from streams.topology import ANSWERS
from tests import build

SECOND_NS = 1_000_000_000
DRAWN = draw(1, utterances())
ASKED = random.Random(3).sample(list(DRAWN.queries), 40)


def shuffled() -> IntentModel:
    """A model that learned labels of others for half of its examples."""
    half = len(DRAWN.seed) // 2
    intents = [intent for _, intent in DRAWN.seed[:half]]
    random.Random(0).shuffle(intents)
    lied = [(text, intent) for (text, _), intent in zip(DRAWN.seed[:half], intents, strict=True)]
    return fit([*lied, *DRAWN.seed[half:]])


def candidate(of: LiveGlasses, number: int = 2, *, declined: str = "worse than version 1") -> ModelVersion:
    """Version `number`, of shuffled labels, which the worker reads."""
    first = of.followed.models.now.versions[1]
    made = replace(first, version=number, model=shuffled(), declined=declined)
    of.followed.models.learn(version_key(number), made.dump())
    return made


def told(of: LiveGlasses, *, feedback: bool = True) -> tuple[list[Outgoing], Sequence[tuple[str, str]]]:
    """What a core writes when each query of ASKED is corrected to what was meant."""
    batches = []
    for at, (text, meant) in enumerate(ASKED):
        t_ns = build.T0_NS + at * 2 * SECOND_NS
        batches.append(build.query(at, text, t_ns))
        if feedback:
            batches.append(build.feedback(at, f"g1/answer/{at}", meant, t_ns + SECOND_NS))
    fetches = [build.fetch(batches[at : at + 10], at) for at in range(0, len(batches), 10)]
    records, _ = build.process(of, fetches)
    return records, ASKED


def test_nobody_hears_a_candidate_and_feedback_says_how_often_it_was_right(tmp_path: Path) -> None:
    alone, _ = told(build.core())
    core = build.core()
    made = candidate(core)
    records, asked = told(core)
    heard = [record.value for record in records if record.topic == ANSWERS]
    assert heard == [record.value for record in alone if record.topic == ANSWERS]
    rows = build.lineage(records)
    taken = [row["value"] for row in rows["inputs"] if row["kind"] == MODEL_CANDIDATE]
    assert taken == ["2"]
    predicted = [intent for intent, _ in made.model.predict([text for text, _ in asked])]
    expected = [
        "confirmed" if guess == meant else "corrected"
        for guess, (_, meant) in zip(predicted, asked, strict=True)
    ]
    assert [(row["candidate"], row["candidate_meaning"]) for row in rows["feedback"]] == [
        (2, meaning) for meaning in expected
    ]
    assert len(set(expected)) == 2, "it is right sometimes"
    with stored(tmp_path / "s") as sink:
        sink.write(first_records(build.policy(), build.T0_NS))
        sink.write(records)
        sink.flush()
        sink.writer.settle(build.T0_NS)
    with Store.open(tmp_path / "s") as store:
        used = {row.of: row for row in usage(store).usage}
    assert set(used) == {"1", "2"}
    right = round(100 * expected.count("confirmed") / len(expected), 1)
    assert (used["2"].answers, used["2"].shadow_judged, used["2"].shadow_right_percent) == (0, 40, right)
    assert (used["1"].shadow_judged, used["1"].shadow_right_percent) == (0, None)


def test_it_is_counted_how_often_it_takes_a_query_for_the_same() -> None:
    core = build.core()
    made = candidate(core)
    texts = [text for text, _ in ASKED]
    serving = build.version(core).model.predict(texts)
    alike = sum(a == b for (a, _), (b, _) in zip(serving, made.model.predict(texts), strict=True))
    batches = [build.query(at, text, build.T0_NS + at * SECOND_NS) for at, text in enumerate(texts)]
    outcome = build.step(core, core.empty(0), build.fetch(batches, 0))
    counts = outcome.tally.counts
    counted = [counts["shadow_answers_total", (said,)] for said in ("yes", "no")]
    assert counted == [alike, len(texts) - alike]


def test_a_candidate_ends_when_a_version_is_promoted_and_a_promoted_one_is_none() -> None:
    table = build.core().followed.models
    assert table.now.candidate == 0
    core = build.core()
    candidate(core)
    assert core.followed.models.now.candidate == 2
    candidate(core, 3, declined="")
    core.followed.models.learn(CURRENT_KEY, Pointer(3).dump())
    assert (core.followed.models.now.serving, core.followed.models.now.candidate) == (3, 0)
    records, _ = told(core, feedback=False)
    assert not [row for row in build.lineage(records)["inputs"] if row["kind"] == MODEL_CANDIDATE]


def test_a_silent_run_makes_the_same_state() -> None:
    core = build.core()
    candidate(core)
    batches = [build.query(at, text, build.T0_NS + at * SECOND_NS) for at, (text, _) in enumerate(ASKED)]
    first = build.step(core, core.empty(0), build.fetch(batches[:20], 0)).state
    restored = core.restore(0, core.save(None, first))
    assert restored.candidate_version == 2
    fetch = build.fetch(batches[20:], 20)
    states = [build.step(core, restored, fetch, silent=silent).state for silent in (False, True)]
    assert states[0].devices["g1"] == states[1].devices["g1"]
    assert {answer.candidate for answer in states[1].devices["g1"].answers} == {2}


@pytest.mark.parametrize(
    ("meant", "answered", "other", "meaning"),
    [
        (Meaning("a"), "b", "a", "confirmed"),
        (Meaning("a"), "a", "b", "corrected"),
        (Meaning(None, "rated-low"), "a", "a", "denied"),
        (Meaning(None, "rated-low"), "a", "b", "unclear"),
        (Meaning(None, "not-understood"), "a", "a", "unclear"),
    ],
)
def test_what_feedback_says_of_an_answer_that_nobody_heard(
    meant: Meaning, answered: str, other: str, meaning: FeedbackMeaning
) -> None:
    assert meant.about_other(answered, other) == meaning


def test_a_silent_run_reads_a_candidate_again_that_left_the_memory() -> None:
    core = build.core()
    made = candidate(core)
    batches = [build.query(at, text, build.T0_NS + at * SECOND_NS) for at, (text, _) in enumerate(ASKED)]
    live = build.step(core, core.empty(0), build.fetch(batches, 0)).state
    before = build.step(core, core.empty(0), build.fetch(batches[:1], 0)).state
    table: ModelTable = core.followed.models
    table.now = replace(table.now, versions={1: table.now.versions[1]}, candidate=0)

    async def recall(number: int) -> None:
        assert number == 2
        table.learn(version_key(2), made.dump())

    core.followed.recall = recall
    assert build.run(core.stands(before))
    table.now = replace(table.now, versions={1: table.now.versions[1]}, candidate=0)
    again = build.step(core, before, build.fetch(batches[1:], 1), silent=True).state
    assert {answer.candidate for answer in again.devices["g1"].answers} == {2}
    assert [answer.candidate_intent for answer in again.devices["g1"].answers] == [
        answer.candidate_intent for answer in live.devices["g1"].answers
    ]


def test_a_version_whose_answers_nobody_could_be_given_answers_nothing_in_shadow() -> None:
    core = build.core()
    made = candidate(core)
    table: ModelTable = core.followed.models
    table.now = replace(
        table.now, versions={**table.now.versions, 2: replace(made, label=bytes(len(made.label)))}
    )
    records, _ = told(core)
    assert {row["candidate"] for row in build.lineage(records)["feedback"]} == {0}


def test_a_replay_takes_a_candidate_up_where_the_partition_did() -> None:
    made = candidate(build.core())
    policies = PolicyVersions.of(build.policy())
    taken_up = _TakenUp(policies, [])
    known = ModelVersions({1: made, 2: made})
    take_ups = [TakeUp(3, MODEL_CANDIDATE, "2"), TakeUp(9, MODEL_CANDIDATE, "0")]
    assert [each.version for each in take_ups] == [2, None], "it waits until that version is made"
    for each, candidate_version in zip(take_ups, (2, 0), strict=True):
        taken_up.take(each)
        assert taken_up.side_inputs(known).models.candidate == candidate_version
