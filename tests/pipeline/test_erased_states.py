"""What a state holds of the very time of an erasure goes; no candidate answers that learned until then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from streams.consent.view import PartitionConsents
from streams.events.state import DeviceState
from streams.pipeline.erased import without_erased
from tests import build
from tests.consent.test_erasure import ERASED_NS, S_NS, T0_NS, _lived, erase, of_wearer
from tests.training.test_shadow_answers import candidate


def parts(state: DeviceState, since_ns: int) -> DeviceState:
    """A state all parts of which began at a time: windows, those that are kept, what was seen last."""
    windows = {
        operator: {name: structs.replace(each, since_ns=since_ns) for name, each in of.items()}
        for operator, of in state.windows.items()
    }
    look_backs = {
        operator: {
            name: structs.replace(
                each,
                windows=tuple(
                    structs.replace(kept, window=structs.replace(kept.window, since_ns=since_ns))
                    for kept in each.windows
                ),
            )
            for name, each in of.items()
        }
        for operator, of in state.kept.items()
    }
    return structs.replace(
        state,
        windows=windows,
        look_backs=look_backs,
        recents=tuple(structs.replace(each, since_ns=since_ns) for each in state.recents),
        answers=tuple(structs.replace(each, since_ns=since_ns) for each in state.answers),
    )


@pytest.mark.parametrize(("since_ns", "stays"), [(ERASED_NS - 1, 0), (ERASED_NS, 0), (ERASED_NS + 1, 4)])
def test_a_state_of_exactly_the_time_of_the_erasure_goes_and_one_of_right_after_it_stays(
    since_ns: int, stays: int
) -> None:
    core = build.core()
    _, state = build.process(core, [build.fetch(_lived("g1", "w1"))])
    devices = state.devices.changed({"g1": parts(state.devices["g1"], since_ns)})
    consents = core.followed.consents
    before = PartitionConsents(consents, consents.offset, {})
    erase(core, "w1", withdrawn=False)
    left = without_erased(devices, before, PartitionConsents(consents, consents.offset, {}))["g1"]
    held = (left.windows, left.kept, left.recents, left.answers)
    assert sum(map(bool, held)) == stays


@pytest.mark.parametrize(
    ("knows", "trained_ns", "answers"),
    [
        ("w1", ERASED_NS - 1, 0),
        ("w1", ERASED_NS, 0),
        ("w1", ERASED_NS + 1, 2),
        ("w3", ERASED_NS - 1, 2),
        ("", ERASED_NS - 1, 2),
    ],
)
def test_a_candidate_that_learned_from_who_was_erased_answers_nobody_in_shadow(
    knows: str, trained_ns: int, answers: int
) -> None:
    """The pointer of the erasure may come later; until then the candidate stands there."""
    core = build.core()
    made = candidate(core)
    manifest = replace(made.manifest, wearers={knows: [1]} if knows else {})
    models = core.followed.models
    known = replace(made, manifest=manifest, trained_ns=trained_ns)
    models.now = replace(models.now, versions={**models.now.versions, 2: known})
    ask = of_wearer("w2", build.query(7, "wake me at seven", T0_NS + S_NS, source="g2"))
    _, state = build.process(core, [build.fetch([ask])])
    assert [each.candidate for each in state.devices["g2"].answers] == [2], "before the erasure"
    erase(core, "w1", withdrawn=False)
    again = of_wearer("w2", build.query(8, "wake me at seven", ERASED_NS + S_NS, source="g2"))
    _, after = build.process(core, [build.fetch([again], 1)], state)
    assert [each.candidate for each in after.devices["g2"].answers] == [2, answers]
