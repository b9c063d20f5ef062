"""After an erasure an earlier version serves, and the next example makes one without the erased wearer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.consent.erased import ErasedTime, Scope
from streams.consent.record import erasure_record, learn_consent, withdrawal_record
from streams.events.headers import SINCE
from streams.events.record import Fetch, StoredRecord
from streams.models.pointer import Pointer, Rollback
from streams.models.version import CURRENT_KEY
from streams.pipeline import training
from streams.policy.recheck import StoredDecision, StoredPolicies, recheck
from streams.policy.rules import ERASED_RULE
from streams.topology import EXAMPLES, TRAINING_RUN
from streams.training import gate
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


def test_what_was_made_at_a_place_is_refused_before_its_key_is_gone_and_all_else_is_learned() -> None:
    """Nothing was withdrawn, so the consent lets it pass; a recheck does not know what was erased."""
    core, _ = loop()
    core.every = MANY
    consents = core.followed.consents
    consents.mark = mark_of
    there, elsewhere = GOOD_EXAMPLES[10:12]
    wearer = gate.read(there, build.CODEC)[0].wearer_id
    began_ns = build.T0_NS - 60 * 10**9
    headers = {**dict(there.headers), SINCE: str(began_ns).encode()}
    scope = Scope(0, 0, "home", (ErasedTime(began_ns - 5, began_ns + 5),))
    word = erasure_record(mark_of(wearer), 7, scope)
    learn_consent(consents, StoredRecord(consents.offset, NOW_NS // 1_000_000, word.key, word.value))
    records = [replace(there, headers=[*headers.items()]), elsewhere]
    state = replace(core.empty(0), version=4, serving=4)
    rows = build.lineage(build.step(core, state, Fetch(EXAMPLES, 0, records)).outputs)["decisions"]
    rules = {row["first"]: (row["passed"], row["rule"]) for row in rows if row["sink"] == TRAINING_RUN}
    assert rules[10] == (False, ERASED_RULE)
    assert rules[11][0]
    [refused] = [row for row in rows if row["rule"] == ERASED_RULE]
    kept = {name: refused[name] for name in StoredDecision.__struct_fields__ if name in refused}
    policies = StoredPolicies({build.policy().version: build.policy().text})
    assert not list(recheck([StoredDecision(**kept)], policies))


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
