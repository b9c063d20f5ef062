"""A failed training run is reported and the next goes on; many examples of a device displace no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams import limits, metrics
from streams.events.headers import pack_parents
from streams.events.intents import SEED_INTENTS
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.events.runs import Run
from streams.lineage.record import model_parents
from streams.lineage.tables import MODEL_TAKEUP, POLICY_TAKEUP
from streams.models.intent import IntentModel
from streams.models.version import ModelVersion
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveTraining
from streams.pipeline.training_state import TrainingState
from streams.topology import EXAMPLES, MODELS, REJECTED
from streams.training import gate, run, seed
from streams.training.lesson import Lesson, Pair
from streams.training.promotion import Validation
from streams.training.run import Fitted
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES, no_fit

POLICY = build.policy()
LICENSED = seed.licensed()
FIRST = build.version(build.core())
WORD = "wake"  #: a word in the utterance of every example of GOOD_EXAMPLES


async def history(offset: int) -> Sequence[Received]:
    return GOOD_EXAMPLES[: offset + 1]


def train(
    fit: object, every: int = 4, followed: Followed | None = None
) -> tuple[list[Outgoing], TrainingState]:
    """Pass all good examples through the core as the transport does, four in each fetch."""
    core = LiveTraining(followed or build.followed(), history, fit, every)  # type: ignore[arg-type]
    state, written = core.empty(0), list[Outgoing]()
    for at in range(0, len(GOOD_EXAMPLES), 4):
        fetch = Fetch(EXAMPLES, 0, GOOD_EXAMPLES[at : at + 4])
        outcome = build.run(build.computed(core, state, fetch))
        assert outcome.checkpoint, "a silent run could not say how the run ended"
        state = core.restore(0, core.save(None, outcome.state))
        written += outcome.outputs
        build.learn_models(core.followed, outcome.outputs)
    return written, state


def versions(written: Sequence[Outgoing]) -> list[ModelVersion]:
    return [
        ModelVersion.load(one.value) for one in written if one.topic == MODELS and one.key != b"model/current"
    ]


def huge(pairs: Sequence[Pair]) -> Fitted:
    """A model whose record is larger than Kafka accepts, as happened with 200 invented intents."""
    intents = tuple(f"a{i:03}" for i in range(limits.INTENTS_MAX))
    weights = np.zeros((len(intents), limits.MODEL_FEATURES), "<f4")
    assert pairs
    alike = [True] * len(LICENSED.validation.pairs)
    return Fitted(IntentModel(intents, weights, np.zeros(len(intents), "<f4")).dump(), alike, alike)


@pytest.mark.parametrize("fault", ["too large", "raises"])
def test_a_run_that_fails_is_said_once_and_the_next_goes_on_without_its_examples(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []
    monkeypatch.setattr("streams.pipeline.made_version.MODEL_BYTES_MAX", 300_000)

    async def fails_first(lesson: Lesson, validation: Validation, _: object) -> Fitted:
        called.append(len(lesson.pairs))
        if len(called) > 1:
            return await no_fit(lesson, validation)
        if fault == "raises":
            raise RuntimeError(WORD)
        return huge(lesson.pairs)

    failed = metrics.read("training_failed_total")
    written, state = train(fails_first)
    (rejected,) = [dict(one.headers) for one in written if one.topic == REJECTED]
    reason = rejected["sightline-reason"].decode()
    assert reason.startswith("model version 2 was not made: ")
    assert "g1/example/0, g1/example/1, g1/example/2, g1/example/3" in reason
    assert WORD not in reason
    (row,) = build.lineage(written)["rejected"]
    assert (row["source"], row["stream"], row["rule"], row["count"]) == (
        "training",
        "intent-model",
        "run-failed",
        0,
    )
    assert [one.version for one in versions(written)] == [2, 3], "the number goes to the next run"
    first, second = (one.manifest for one in versions(written))
    assert [first.admitted, first.left_out] == [[("g1", "example", Run(4, 1, 4))], 4]
    assert second.admitted == [("g1", "example", Run(4, 1, 8))]
    assert called == [len(LICENSED.seed.pairs) + count for count in (4, 4, 8)], "each run was made once"
    assert state.left_out == tuple(f"g1/example/{i}" for i in range(4))
    assert metrics.read("training_failed_total") == failed + 1
    assert metrics.read("training_left_out_examples") == 4
    assert [WORD in one.getMessage() for one in caplog.records if "was not made" in one.getMessage()] == [
        False
    ]


def test_what_is_left_out_is_bounded() -> None:
    async def fails(*_: object) -> Fitted:
        raise RuntimeError

    core = LiveTraining(build.followed(), history, fails, 4)
    many = tuple(f"g9/example/{i}" for i in range(limits.LEFT_OUT_MAX))
    outcome = build.step(core, TrainingState(left_out=many), Fetch(EXAMPLES, 0, GOOD_EXAMPLES[:4]))
    assert outcome.state.left_out == (*many[4:], *(f"g1/example/{i}" for i in range(4)))


def test_numbers_that_somebody_else_took_are_stepped_over_and_that_is_an_input() -> None:
    followed = build.followed()
    for number in (2, 7):
        weights = np.roll(FIRST.model.weights, number)
        model = IntentModel(FIRST.model.intents, weights, FIRST.model.bias)
        forged = ModelVersion(**{**vars(FIRST), "version": number, "model": model})
        followed.models.learn(b"model/%d" % number, forged.dump())
    written, _ = train(no_fit, followed=followed)
    assert [one.version for one in versions(written)] == [8, 9, 10]
    inputs = [row for row in build.lineage(written)["inputs"] if row["kind"] == MODEL_TAKEUP]
    assert [(row["agent"], row["offset"], row["value"]) for row in inputs] == [("training", 0, "7")]


def test_a_state_that_was_lost_is_made_of_the_log_again_and_the_versions_that_there_are() -> None:
    followed = build.followed()
    core = LiveTraining(followed, history, no_fit, 4)
    known, written = core.empty(0), list[Outgoing]()
    fetches = [Fetch(EXAMPLES, 0, GOOD_EXAMPLES[at : at + 2]) for at in range(0, 12, 2)]
    for fetch in fetches[:5]:
        outcome = build.step(core, known, fetch)
        known = outcome.state
        build.learn_models(followed, outcome.outputs)
    lost = core.empty(0)
    for fetch in fetches[:5]:
        lost = build.step(core, lost, fetch, silent=True).state
    assert (lost.policy_version, lost.version) == ("", 1), "the next fetch takes both up, and says so"
    assert (lost.admitted, lost.examples) == (known.admitted, known.examples)
    after = build.step(core, lost, fetches[5])
    written += after.outputs
    assert after.state == build.step(core, known, fetches[5]).state
    assert [one.version for one in versions(written)] == [4]
    assert {POLICY_TAKEUP, MODEL_TAKEUP} <= {row["kind"] for row in build.lineage(written)["inputs"]}


def candidates(counts: Sequence[tuple[str, int]], step: int = 2) -> list[gate.Candidate]:
    """Admitted examples of several devices in turns; with `step` 2 no numbers are consecutive."""
    good = gate.judge(GOOD_EXAMPLES[0], build.CODEC, build.crossing(), lambda label, *_: label, build.T0_NS)
    made = []
    for number in range(max(count for _, count in counts)):
        for source, count in counts:
            if number < count:
                batch = structs.replace(good.tagged.batch, source=source, run=Run(number * step, 1, 1))
                tagged = structs.replace(good.tagged, batch=batch)
                made.append(gate.Candidate(tagged, good.decision, good.listed))
    return made


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z0-9-]{1,62}", fullmatch=True), st.integers(1, 3000)),
        min_size=1,
        max_size=4,
        unique_by=lambda one: one[0],
    )
)
@example([("b" * 61, 20_000)])
def test_the_largest_model_of_whatever_examples_fits_its_record(counts: list[tuple[str, int]]) -> None:
    used = run.within(candidates([("g1", 5), *((f"x{source}", count) for source, count in counts)]))
    manifest = run.manifest_of(LICENSED.seed, run.divided(used), 10**9)
    made = run.make_version(
        2, huge([("", "")]), manifest, used, POLICY, build.T0_NS, licensed=len(LICENSED.validation.pairs)
    )
    parents = model_parents(("training", "seed", 88), manifest.admitted, "model-training")
    size = len(made.dump()) + len(pack_parents(used[0].tagged.batch, parents))
    assert size <= limits.MODEL_BYTES_MAX
    assert sum(one.tagged.batch.source == "g1" for one in used) == 5, "the few of one are kept out by nobody"


def test_the_newest_are_kept_and_runs_take_no_room() -> None:
    many = candidates([("g1", 20_000)])
    kept = run.within(many)
    assert kept == many[-len(kept) :]
    assert 1000 < len(kept) < 5000
    assert len(run.within(candidates([("g1", 20_000)], step=1))) == 20_000


def test_of_an_example_that_stands_there_twice_the_first_counts() -> None:
    one, *others = candidates([("g1", 3)])
    batch = structs.replace(one.tagged.batch, columns={**one.tagged.batch.columns, "utterance": ["other"]})
    again = gate.Candidate(structs.replace(one.tagged, batch=batch), one.decision, True)
    assert run.within([one, *others, again]) == [one, *others]


def invented(record: StoredRecord, intent: str) -> StoredRecord:
    """A forgery of the example with another intent, in which everything else agrees."""
    fields = orjson.loads(record.value or b"")
    fields["columns"]["intent"] = [intent]
    return StoredRecord(record.offset, record.timestamp, record.key, orjson.dumps(fields), record.headers)


def test_the_gate_refuses_an_intent_that_the_policy_does_not_list() -> None:
    forged = [invented(one, f"payment_{i}") for i, one in enumerate(GOOD_EXAMPLES[:4])]
    records = [*forged, *GOOD_EXAMPLES[4:]]

    async def read(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    learned: list[set[str]] = []

    async def fit(lesson: Lesson, validation: Validation, _: object) -> Fitted:
        learned.append({intent for _, intent in lesson.pairs})
        return await no_fit(lesson, validation)

    core = LiveTraining(build.followed(), read, fit, 8)
    outcome = build.step(core, core.empty(0), Fetch(EXAMPLES, 0, records))
    rejects = [one for one in outcome.outputs if one.topic == REJECTED]
    assert [dict(one.headers)["sightline-rule"] for one in rejects] == [b"intent"] * 4
    assert all(one.value is None for one in rejects), "what somebody said goes nowhere"
    assert all(b"payment" not in value for one in rejects for _, value in one.headers)
    assert learned == [set(SEED_INTENTS)]
    (made,) = versions(outcome.outputs)
    assert made.manifest.refused == [("g1", "example", Run(0, 1, 4), "intent")]
