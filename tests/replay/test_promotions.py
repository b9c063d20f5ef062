"""A replay declines the same versions as the live run, and goes back to an earlier one at the same places."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.models.intent import IntentModel
from streams.replay import recorded
from streams.training.lesson import Lesson
from streams.training.promotion import Validation
from streams.training.run import Fitted
from tests import build
from tests.replay import live as live_module
from tests.replay.live import meaning
from tests.replay.test_interleavings import inputs, quick_fit, replayed, three_partitions


async def bad_fit(lesson: Lesson, validation: Validation, serving: IntentModel | None) -> Fitted:
    """Some versions are bad, because the intents were given to other utterances."""
    if len(lesson.pairs) % 3 == 0:
        pairs = [(text, lesson.pairs[at - 7][1]) for at, (text, _) in enumerate(lesson.pairs)]
        lesson = replace(lesson, pairs=pairs)
    return await quick_fit(lesson, validation, serving)


def test_a_replay_declines_and_goes_back_as_the_live_run_did(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live_module, recorded):
        monkeypatch.setattr(module, "fit_here", bad_fit)
    live = three_partitions()
    for at in range(12):
        for number in live.captured:
            live.fetch(number, 3, checkpoint=at % 3 == 0)
            live.learn(number)
        live.train(1, checkpoint=False)
        live.learn(-1)
        if at in (6, 9):
            live.roll_back(0)
            if at == 6:
                live.learn(-1)
    live.finish()
    outcomes = [row["outcome"] for row in build.lineage(live.outputs)["promotions"]]
    assert {"promoted", "declined", "rolled-back"} == set(outcomes), outcomes
    taken = inputs(live.outputs)
    assert [one.kind for one in taken.training].count("model-rollback") == outcomes.count("rolled-back")
    assert meaning(replayed(live, taken)) == meaning(live.outputs)
