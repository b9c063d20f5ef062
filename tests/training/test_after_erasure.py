"""After an erasure an earlier version serves, and the next example makes one without the erased wearer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.consent.record import erasure_record, learn_consent, withdrawal_record
from streams.events.record import Fetch, StoredRecord
from streams.models.pointer import Pointer, Rollback
from streams.models.version import CURRENT_KEY
from streams.pipeline import training
from streams.topology import EXAMPLES
from tests import build
from tests.consent.test_erasure import mark_of
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.training.test_rollback import NOW_NS, loop
from tests.training.test_runs import versions

#: More examples than there are: no run is due by their number.
MANY = 1000


def back(number: int) -> Rollback:
    return Rollback(number, 4, "erasure 7", NOW_NS, erasure=True)


@pytest.mark.parametrize("superseded", [False, True])
def test_the_next_example_triggers_a_run_and_nobody_elses_are_left_out(superseded: bool) -> None:
    core, _ = loop()
    core.every = MANY
    models = core.followed.models
    models.learn(CURRENT_KEY, Pointer(2, back(2)).dump())
    if superseded:
        models.learn(CURRENT_KEY, Pointer(4).dump())
    state = replace(core.empty(0), version=4, serving=4, admitted=0)
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:]))
    after = outcome.state
    assert (after.version, after.owed, after.left_out, after.admitted) == (5, False, (), 0)
    [made] = versions(outcome.outputs)
    assert made.version == 5
    rows = build.lineage(outcome.outputs)
    assert [row["against"] for row in rows["promotions"] if row["version"] == 5] == [4 if superseded else 2]
    again = build.step(core, after, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[10:11]))
    assert not versions(again.outputs), "one run is owed, not one after each example"


@pytest.mark.parametrize("first", [False, True])
def test_an_erasure_owes_a_run_whichever_version_serves_but_not_one_of_before_the_first_start(
    first: bool,
) -> None:
    """A run that was under way may still make a version that knows who was erased."""
    core, _ = loop()
    core.every = MANY
    consents = core.followed.consents
    state = replace(core.empty(0), version=4, serving=4, consents_taken=0 if first else consents.offset)
    consents.mark = mark_of
    word = erasure_record(mark_of("w2"), 7)
    learn_consent(consents, StoredRecord(consents.offset, NOW_NS // 1_000_000, word.key, word.value))
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:]))
    assert [each.version for each in versions(outcome.outputs)] == ([] if first else [5])
    assert not outcome.state.owed


def test_the_version_has_nothing_of_the_wearer_and_all_of_the_others() -> None:
    """The oracle is the manifest of the version before, without the wearer's."""
    core, _ = loop()
    core.every = MANY
    wearers = core.followed.models.now.version(4).manifest.wearers
    gone = next(iter(wearers))
    consents = core.followed.consents
    word = withdrawal_record(gone, 0)
    learn_consent(consents, StoredRecord(consents.offset, NOW_NS // 1_000_000, word.key, word.value))
    core.followed.models.learn(CURRENT_KEY, Pointer(1, back(1)).dump())
    state = replace(core.empty(0), version=4, serving=4, admitted=0)
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:]))
    [made] = versions(outcome.outputs)
    assert set(made.manifest.wearers) == set(wearers) - {gone}


def test_that_a_run_is_owed_outlives_a_restart() -> None:
    core, _ = loop()
    state = replace(core.empty(0), owed=True)
    assert core.restore(0, core.save(None, state)).owed
    assert not core.restore(0, core.save(None, replace(state, owed=False))).owed


def test_few_examples_are_counted_before_anything_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fetch is asked whether it completes a run; nearly none does, and nearly none has news."""
    core, _ = loop()
    core.every = MANY
    side, fetch = core.followed.side_inputs(), Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:])
    state = replace(core.empty(0), version=4, consents_taken=side.consents.offset)

    def taken_up(*_: object) -> None:
        raise AssertionError("it was taken up")

    with monkeypatch.context() as patched:
        patched.setattr(training, "_taken_up", taken_up)
        assert not core.completes(state, fetch, side)
    assert core.completes(replace(state, owed=True), fetch, side)
    # An erasure that is not taken up yet owes a run.
    consents = core.followed.consents
    record = erasure_record("ab", 7)
    learn_consent(consents, StoredRecord(consents.offset, NOW_NS // 1_000_000, record.key, record.value))
    assert core.completes(state, fetch, core.followed.side_inputs())
    core.followed.models.learn(CURRENT_KEY, Pointer(2, back(2)).dump())
    returned = core.followed.side_inputs()
    assert core.completes(replace(state, consents_taken=returned.consents.offset), fetch, returned)
