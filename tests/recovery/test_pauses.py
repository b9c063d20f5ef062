"""The drill of pauses: what a round does is a function of its seed, and rounds come out clean.

Rounds on whole pipelines are `make chaos KIND=pauses`. In `make test` `tests/kafka/test_pauses.py` plays
every pause with cores that are simple enough to see through.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.printing import say
from tests.recovery.pauses import OPENING, STEPS, pauses, sequence

DRILL = os.environ.get("SIGHTLINE_DRILL") == "1"


def test_one_seed_gives_one_sequence_and_every_step_comes_up() -> None:
    assert sequence(1, 40) == sequence(1, 40) != sequence(2, 40)
    deck = sum(share for _, share in STEPS.values())
    assert {name for name, _ in sequence(3, deck)} == STEPS.keys() - {OPENING}
    assert {killed for _, killed in sequence(3, deck)} == {False, True}
    assert [name for name, _ in sequence(4, deck + 1)].index(OPENING) == 0


@pytest.mark.kafka
@pytest.mark.skipif(not DRILL, reason="takes half an hour: SIGHTLINE_DRILL=1")
async def test_after_every_pause_all_three_name_the_same(tmp_path: Path) -> None:
    odd = []
    for step in STEPS:
        for killed in (False, True):
            place = tmp_path / f"{step}-{killed}".replace(" ", "-")
            found = await pauses(place, 1, [(step, killed)], lambda _said: None)
            say(f"{step:20} {'killed' if killed else 'stopped':8} {found.summary()}")
            if not found.clean:
                say("\n".join(found.lines()))
                odd.append(f"{step}, {'killed' if killed else 'stopped'}")
    assert not odd
