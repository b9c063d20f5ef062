"""When feedback turns against what serves, the loop goes back by itself; no single wearer can cause it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams import metrics
from streams.consent.record import learn_consent, withdrawal_record
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.limits import TURN_LEVEL, TURN_WEARERS_MIN
from streams.models.pointer import Pointer, Rollback, holds
from streams.models.registry import ModelVersions
from streams.models.version import CURRENT_KEY, version_key
from streams.models.withdrawn import Withdrawn
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.training_state import TrainingState
from streams.topology import EXAMPLES
from streams.training.turning import Answer, turned
from tests import build
from tests.hostile.test_cores import no_fit
from tests.training.test_runs import versions
from tests.training.test_training import utterances


def answers(chance: random.Random, wearers: int, until: float, since: float, each: int = 6) -> list[Answer]:
    """Answers of versions 1 and 2 with a share of wrong ones each, alternating between wearers."""
    return [
        Answer(f"w{wearer}", version, chance.random() >= share)
        for version, share in ((1, until), (2, since))
        for _ in range(each)
        for wearer in range(wearers)
    ]


def permuted(told: Sequence[Answer], chance: random.Random, times: int = 2000) -> float:
    """Chance of as many wrong answers since, if each wearer's outcomes are dealt at random: no formula."""

    def wrong(some: Sequence[Answer]) -> int:
        return sum(not answer.right for answer in some if answer.version == 2)

    observed, as_many = wrong(told), 0
    for _ in range(times):
        dealt = list[Answer]()
        for wearer in {answer.wearer for answer in told}:
            own = [answer for answer in told if answer.wearer == wearer]
            rights = [answer.right for answer in own]
            chance.shuffle(rights)
            dealt += [replace(answer, right=right) for answer, right in zip(own, rights, strict=True)]
        as_many += wrong(dealt) >= observed
    return as_many / times


@pytest.mark.parametrize("seed", range(5))
def test_the_chance_is_that_of_dealing_the_answers_again(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.training.turning.TURN_LEVEL", 1.0)
    chance = random.Random(f"turning/{seed}")
    told = answers(chance, 12, 0.3, 0.4)
    turn = turned(told, [1, 2])
    assert turn is not None
    assert turn.p_value == pytest.approx(permuted(told, chance), abs=0.04)


@pytest.mark.parametrize("seed", range(10))
def test_feedback_that_turns_is_noticed(seed: int) -> None:
    chance = random.Random(f"bad/{seed}")
    turn = turned(answers(chance, 12, 0.15, 0.8), [1, 2])
    assert turn is not None
    assert (turn.version, turn.wearers, turn.answers) == (1, 12, 72)
    assert turn.why.startswith(f"feedback turned: {turn.wrong} of 72 answers since version 1 were wrong, ")
    assert len(turn.why) <= 200


def test_what_did_not_turn_hardly_ever_goes_back() -> None:
    chance = random.Random("equal")
    back = sum(
        turned(answers(chance, 8, share, share), [1, 2]) is not None
        for share in (0.2, 0.5)
        for _ in range(1500)
    )
    assert back / 3000 <= 3 * TURN_LEVEL


@given(st.integers(1, 400), st.integers(0, 2**32), st.sampled_from([TURN_WEARERS_MIN, 8, 20]))
@settings(max_examples=60, deadline=None)
def test_one_hostile_wearer_cannot_cause_it(times: int, seed: int, wearers: int) -> None:
    """The others' outcomes do not change, so without the hostile one nothing turned."""
    chance = random.Random(seed)
    honest = [
        Answer(f"w{wearer}", version, at % 4 != 0)
        for version in (1, 2)
        for at in range(8)
        for wearer in range(wearers)
    ]
    hostile = [Answer("h", 1, True)] * times + [Answer("h", 2, False)] * times
    told = [*honest, *hostile]
    chance.shuffle(told)
    assert turned(told, [1, 2]) is None


def test_too_few_wearers_or_one_version_say_nothing() -> None:
    told = answers(random.Random(0), TURN_WEARERS_MIN - 1, 0.0, 1.0)
    assert turned(told, [1, 2]) is None
    assert turned(answers(random.Random(0), 12, 0.0, 1.0), [2]) is None
    assert (
        turned([answer for answer in answers(random.Random(0), 12, 0.0, 1.0) if answer.version == 2], [1, 2])
        is None
    )


def test_of_several_versions_the_one_after_which_it_is_worst() -> None:
    """Versions 3, 4 and 5 are bad; one further back than three is not gone back to."""
    told = [
        Answer(f"w{wearer}", version, version < 3)
        for version in range(1, 6)
        for _ in range(3)
        for wearer in range(9)
    ]
    turn = turned(told, [1, 2, 3, 4, 5])
    assert turn is not None
    assert turn.version == 2
    far = turned(told, [1, 2, 3, 4, 5, 6])
    assert far is None or far.version >= 3


WEARERS = [f"w{number}" for number in (1, 2, 3, *range(90, 97))]
EVERY = 2 * len(WEARERS)
FIRST = build.version(build.core())
TEXTS = [text for text, _ in utterances(EVERY, 5)]
NOBODY: Mapping[int, Rollback] = {}


def answering(number: int) -> LiveGlasses:
    """A core in which this version serves; all of them answer like the first."""
    made = build.followed()
    version = replace(FIRST, version=number)
    made.models.now = ModelVersions({number: version}, current=number, highest=number, promoted=number)
    return LiveGlasses(made)


def told(turns: Sequence[tuple[int, bool]]) -> list[Received]:
    """Examples of all wearers, EVERY for each turn: which version answered, and whether it was right."""
    records = list[Outgoing]()
    for turn, (version, right) in enumerate(turns):
        batches = []
        for at, text in enumerate(TEXTS):
            number, wearer = turn * EVERY + at, WEARERS[at % len(WEARERS)]
            ((answered, _),) = FIRST.model.predict([text])
            meant = answered if right else "play_music" if answered == "alarm_set" else "alarm_set"
            t0_ns = build.T0_NS + number * 1_000_000
            batches += [
                structs.replace(batch, wearer_id=wearer)
                for batch in (
                    build.query(number, text, t0_ns),
                    build.feedback(number, f"g1/answer/{number}", meant, t0_ns + 1),
                )
            ]
        records += build.process(answering(version), [build.fetch(batches)])[0]
    made = [record for record in records if record.topic == EXAMPLES]
    assert len(made) == EVERY * len(turns)
    return [
        StoredRecord(at, record.timestamp_ms, record.key, record.value, tuple(record.headers))
        for at, record in enumerate(made)
    ]


def play(
    turns: Sequence[tuple[int, bool]], withdrawn: int = 0, operator: Mapping[int, Rollback] = NOBODY
) -> tuple[LiveTraining, TrainingState, list[Sequence[Outgoing]]]:
    """A run after each turn; workers read what is written, and lose a version once another serves.

    Before some turns an `operator` goes back.
    """
    records = told(turns)

    async def history(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    core = LiveTraining(build.followed(), history, no_fit, EVERY)
    state, written = core.empty(0), list[Sequence[Outgoing]]()
    for turn, at in enumerate(range(0, len(records), EVERY)):
        if turn in operator:
            pointer = Pointer(operator[turn].version, operator[turn])
            core.followed.models.learn(CURRENT_KEY, pointer.dump())
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[at : at + EVERY]))
        state = core.restore(0, core.save(None, outcome.state))
        written.append(outcome.outputs)
        build.learn_models(core.followed, outcome.outputs)
        known = core.followed.models.now
        if withdrawn in known.versions and withdrawn != known.serving:
            gone = Withdrawn.of(known.versions[withdrawn], "erasure 7", ())
            core.followed.models.learn(version_key(withdrawn), gone.dump())
    return core, state, written


def test_the_version_before_serves_again_and_nothing_is_learned_from_what_came_since(
    caplog: pytest.LogCaptureFixture,
) -> None:
    back = metrics.read("training_turned_back_total")
    core, state, written = play([(1, True), (2, True), (3, False), (2, True), (4, True)])
    pointers = [
        [Pointer.load(record.value) for record in outputs if record.key == CURRENT_KEY] for outputs in written
    ]
    assert [[pointer.version for pointer in some] for some in pointers] == [[2], [3], [2], [4], [5]]
    rollback = pointers[2][0].rollback
    assert rollback is not None
    assert (rollback.version, rollback.before) == (2, 3)
    assert rollback.why.startswith(
        f"feedback turned: {EVERY} of {EVERY} answers since version 2 were wrong, 0% "
    )
    assert rollback.why in caplog.text
    assert not versions(written[2]), "nothing is trained on what turned"
    rows = [row for outputs in written for row in build.lineage(outputs)["promotions"]]
    assert [(row["outcome"], row["version"], row["against"]) for row in rows] == [
        ("promoted", 2, 1),
        ("promoted", 3, 2),
        ("rolled-back", 2, 3),
        ("promoted", 4, 2),
        ("promoted", 5, 4),
    ]
    (fourth,) = versions(written[3])
    assert fourth.manifest.left_out == 2 * EVERY, "what came since version 2 was made"
    assert (state.serving, state.version) == (5, 5)
    assert core.followed.models.now.serving == 5
    assert metrics.read("training_turned_back_total") == back + 1
    inputs = [row["kind"] for outputs in written for row in build.lineage(outputs)["inputs"]]
    assert "model-rollback" not in inputs, "what training did itself follows from the examples"


def test_a_version_that_an_erasure_withdrew_is_not_gone_back_to(caplog: pytest.LogCaptureFixture) -> None:
    """It is the one after which feedback turned, whether its value is still there or not."""
    _, state, written = play([(1, True), (2, True), (3, False)], withdrawn=2)
    assert CURRENT_KEY not in {record.key for record in written[2]}
    assert "Nothing goes back, although feedback turned" in caplog.text
    assert "version 4 was not made" in caplog.text, "a run follows, as if nothing had turned"
    assert state.serving == 3


def test_from_a_version_that_was_gone_back_to_there_is_no_further_return() -> None:
    """Until another one is promoted: it would go back, step by step, to the first."""
    _, state, written = play([(1, True), (2, True), (3, False), (2, False)])
    rows = [row for outputs in written for row in build.lineage(outputs).get("promotions", ())]
    assert [row["version"] for row in rows if row["outcome"] == "rolled-back"] == [2]
    assert state.serving == 4


def returns(written: Sequence[Sequence[Outgoing]]) -> list[tuple[int, int]]:
    """(version, before) of each return."""
    rows = [row for outputs in written for row in build.lineage(outputs).get("promotions", ())]
    return [(row["version"], row["against"]) for row in rows if row["outcome"] == "rolled-back"]


def test_a_version_that_was_left_behind_never_serves_again_by_itself() -> None:
    """Version 3 lies between 2 and 4; later ones were compared with 2."""
    turns = [(1, True), (2, True), (3, False), (2, True), (4, False), (2, True), (5, True), (6, False)]
    _, state, written = play(turns)
    assert returns(written) == [(2, 3), (2, 4), (5, 6)]
    assert state.left_behind == ((3, 4), (6, 6))


def test_nor_one_that_an_operator_left_behind() -> None:
    back = Rollback(2, 4, "it is rude", build.T0_NS)
    turns = [(1, True), (2, True), (3, True), (2, True), (5, False)]
    _, state, written = play(turns, operator={3: back})
    assert returns(written) == [(2, 4), (2, 5)]
    assert state.left_behind == ((3, 5),)


def test_what_is_said_late_of_a_version_that_was_left_behind_is_not_held_against_later_ones() -> None:
    _, state, written = play([(1, True), (2, True), (3, False), (2, True), (3, False), (4, True)])
    assert returns(written) == [(2, 3)]
    assert state.serving == 4


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99), st.booleans()), max_size=30))
def test_what_was_not_left_behind_is_the_line_of_what_serves(
    words: Sequence[tuple[bool, int, bool]],
) -> None:
    """The oracle is the line of versions, each of which was compared with the one before it."""
    line, newest, state = [1], 1, TrainingState()
    for at, (promoted, which, overtaken) in enumerate(words, 1):
        before, number = line[-1], 1 + which % newest
        if promoted or overtaken:
            newest += 1
            line.append(newest)
            state = replace(state, version=newest, serving=newest)
        if not promoted:
            back = Rollback(number, before, "why", at, superseded=overtaken)
            line = [*(version for version in line if version < number), number]
            line += [newest] if overtaken else []
            state = state.returned(back)
        assert state.serving == line[-1]
        older = range(1, state.serving + 1)
        assert [version for version in older if not holds(state.left_behind, version)] == line


def test_feedback_that_stays_as_it_was_changes_nothing() -> None:
    _, state, written = play([(1, True), (2, True), (3, True)])
    assert state.serving == 4
    assert not [
        row
        for outputs in written
        for row in build.lineage(outputs)["promotions"]
        if row["outcome"] == "rolled-back"
    ]


def test_what_was_withdrawn_since_does_not_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """The earlier version learned from a wearer who has withdrawn."""
    records = told([(1, True), (2, True), (3, False), (3, False)])
    core = LiveTraining(build.followed(), lambda _: read(), no_fit, EVERY)

    async def read() -> Sequence[Received]:
        return records

    state = core.empty(0)
    for at in range(0, 2 * EVERY, EVERY):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[at : at + EVERY]))
        state = outcome.state
        build.learn_models(core.followed, outcome.outputs)
    word = withdrawal_record("w96", 0)
    learn_consent(
        core.followed.consents, StoredRecord(core.followed.consents.offset, 5, word.key, word.value)
    )
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[2 * EVERY :]))
    assert not [
        row for row in build.lineage(outcome.outputs).get("promotions", ()) if row["outcome"] == "rolled-back"
    ]
    assert "Nothing goes back, although feedback turned" in caplog.text
    assert ": model version 2: found 2 of its " in caplog.text
