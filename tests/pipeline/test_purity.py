"""Law 7: a core reads nothing but its arguments; what a worker learns meanwhile is not among them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from streams.consent.record import learn_consent, withdrawal_record
from streams.consent.words import Pairing
from streams.errors import UnavailableError
from streams.events.record import Fetch, Outcome, Received, StoredRecord
from streams.models.version import CURRENT_KEY as MODEL_IN_FORCE
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import GlassesCore
from streams.pipeline.live import LiveTraining
from streams.pipeline.partition import PartitionState
from streams.pipeline.side_inputs import TrainingInputs
from streams.pipeline.training import TrainingCore
from streams.pipeline.training_state import TrainingState
from streams.policy.load import parse
from streams.policy.versions import CURRENT_KEY, NEXT_KEY, Check, pointer_to, record_of
from streams.topology import EXAMPLES, MODELS
from streams.training.lesson import Lesson
from streams.training.promotion import Validation
from streams.training.run import Fitted
from tests import build
from tests.consent.test_consents import change
from tests.hostile.test_cores import GOOD_EXAMPLES, no_fit

T = TypeVar("T")
OTHER = parse(build.policy().text + "# another version\n", "other")
NEXT = parse(build.policy().text + "# the next version\n", "next")


class Trusting(Check):
    """Nobody tries out what the test has made itself."""

    async def check(self, text: str) -> None:
        del text


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing; whatever it would wait for fails the test."""
    with pytest.raises(StopIteration) as ended:
        work.send(None)
    returned: T = ended.value.value
    return returned


async def learn_all(followed: Followed) -> None:
    """Let every followed topic go on: policies, models, consents, pairings, and what is refused."""
    keys = [record_of(OTHER), record_of(NEXT), (CURRENT_KEY, pointer_to(OTHER)), (NEXT_KEY, pointer_to(NEXT))]
    for offset, pair in enumerate(keys, 5):
        await followed.policies.learn(StoredRecord(offset, 5, *pair), Trusting())
    with pytest.raises(Exception, match="expected"):
        await followed.policies.learn(StoredRecord(20, 5, b"policy/x", b"{}"), Trusting())
    first = followed.models.now.versions[1]
    followed.models.learn(b"model/2", replace(first, version=2).dump())
    followed.models.learn(MODEL_IN_FORCE, b'{"version":2}')
    for device, wearer in build.BOUND:
        offset = followed.consents.offset
        followed.consents.learn(offset, wearer, Pairing(device, False, 0))


def day() -> Fetch:
    """A fetch that reads policy, model and consents: windows, a query with its answer, and a word."""
    return build.fetch(
        [
            build.imu(0.2, 0, 100),
            build.query(0, "wake me at seven", build.T0_NS + 2 * 10**9),
            build.feedback(0, "g1/answer/0", "alarm_set", build.T0_NS + 3 * 10**9),
            change(2, "Withdrawn"),
            build.imu(0.2, 100, 100),
        ]
    )


def test_what_is_learned_after_the_inputs_were_taken_changes_nothing() -> None:
    of, state = build.core(), build.begun()
    # Something that was said on another partition is new to it.
    state = replace(state, consents_taken=state.consents_taken - 1)
    taken = build.run(of.inputs(state, day(), silent=False))
    before = replace(taken, policies=replace(taken.policies, versions=dict(taken.policies.versions)))
    versions = dict(taken.models.versions)
    expected = at_once(GlassesCore().process(state, day(), taken, silent=False, poisoned={}))
    build.run(learn_all(of.followed))
    assert (taken.policies, taken.models.versions) == (before.policies, versions)
    again = at_once(GlassesCore().process(state, day(), taken, silent=False, poisoned={}))
    assert again.outputs == expected.outputs
    assert of.save(None, again.state) == of.save(None, expected.state)
    # It would have: otherwise this test would hold of a core that looks at nothing.
    later = build.run(of.inputs(state, day(), silent=False))
    other = at_once(GlassesCore().process(state, day(), later, silent=False, poisoned={}))
    rows = build.lineage(other.outputs)
    assert [row["kind"] for row in rows["inputs"]] == ["model-takeup", "policy-takeup", "consent-takeup"]
    assert {row["version"] for row in rows["policies"]} == {OTHER.version, NEXT.version}
    assert [row["offset"] for row in rows["rejected"] if row["topic"] == "glasses.policies"] == [20]
    assert {row["next_version"] for row in rows.get("shadow", ())} <= {NEXT.version}


def test_consents_that_a_state_is_ahead_of_stop_it_and_blame_no_record() -> None:
    of = build.core()
    ahead = PartitionState(consents_taken=of.followed.consents.offset + 1)
    taken = build.run(of.inputs(ahead, day(), silent=False))
    with pytest.raises(UnavailableError, match=r"^glasses\.consents is read up to offset \d+ here, not yet"):
        build.run(GlassesCore().process(ahead, day(), taken, silent=False, poisoned={}))


def trained(followed: Followed, during: Callable[[], None]) -> Outcome[TrainingState]:
    """Two training runs of one fetch, during whose fits something else happens in the same loop."""

    async def fit(lesson: Lesson, validation: Validation, _: object) -> Fitted:
        during()
        return await no_fit(lesson, validation)

    inputs = TrainingInputs(followed.side_inputs(), GOOD_EXAMPLES[:4])
    core, fetch = TrainingCore(fit, 2), Fetch(EXAMPLES, 0, GOOD_EXAMPLES[:4])
    return build.run(core.process(TrainingState(), fetch, inputs, silent=False, poisoned={}))


def test_what_is_learned_while_a_model_is_fitted_changes_nothing() -> None:
    followed = build.followed()
    expected = trained(followed, lambda: None)
    assert MODELS in {one.topic for one in expected.outputs}

    def withdraw() -> None:
        for wearer in {wearer for _, wearer in build.BOUND}:
            said, offset = withdrawal_record(wearer, 0), followed.consents.offset
            learn_consent(followed.consents, StoredRecord(offset, 5, said.key, said.value))

    assert trained(followed, withdraw).outputs == expected.outputs
    assert MODELS not in {one.topic for one in trained(followed, lambda: None).outputs}


@pytest.mark.parametrize("every", range(1, 7))
def test_all_examples_are_read_for_a_run_and_for_nothing_else(every: int) -> None:
    read: list[int] = []

    async def history(offset: int) -> Sequence[Received]:
        read.append(offset)
        return GOOD_EXAMPLES[: offset + 1]

    core = LiveTraining(build.followed(), history, no_fit, every)
    state, runs = core.empty(0), list[int]()
    for at in range(0, 12, 2):
        fetch = Fetch(EXAMPLES, 0, GOOD_EXAMPLES[at : at + 2])
        outcome = build.step(core, state, fetch)
        runs += [fetch.records[-1].offset] * (outcome.state.version > state.version)
        state = outcome.state
        build.learn_models(core.followed, outcome.outputs)
        assert build.step(core, state, fetch, silent=True)
    assert runs
    assert read == runs


def taken_bytes(followed: Followed) -> int:
    """How much memory it takes to take the inputs, once that was done before."""
    followed.side_inputs()
    tracemalloc.start()
    try:
        followed.side_inputs()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_taking_the_inputs_costs_the_same_however_much_is_known() -> None:
    small, large = build.followed(), build.followed()
    for number in range(3000):
        large.consents.learn(large.consents.offset, f"w{number}", Pairing("g1", True, 0))
    assert taken_bytes(large) == taken_bytes(small) < 1000
