"""Which scopes of an erasure there are, and what is said about the others before anything is looked at."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.cli.rights.erase import _since_ns
from streams.sealing.erasures import Done, Requested
from streams.worker.erasure_receipt import scope_of


@pytest.mark.parametrize(
    ("scope", "since"),
    [
        ("all", "all"),
        ("since 2026-09-21", "since 2026-09-21T00:00:00Z"),
        ("since 2026-09-21T23:59:59Z", "since 2026-09-21T00:00:00Z"),
        ("since 2026-09-21T01:00:00+02:00", "since 2026-09-20T00:00:00Z"),
    ],
)
def test_a_time_is_rounded_to_the_beginning_of_its_day_and_never_later(scope: str, since: str) -> None:
    asked = Requested(1, "ab", "w1", {"requested": Done(1, _since_ns(scope))})
    assert scope_of(asked) == since


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("place home", "A place is made of what was captured there"),
        ("since", "expected all, or since TIME"),
        ("all of it", "expected all, or since TIME"),
        ("since yesterday", "a time in RFC 3339"),
        ("since 2999-01-01", "a time to come"),
    ],
)
def test_another_scope_is_refused_before_anything_is_asked(scope: str, says: str) -> None:
    arguments = ["rights", "erase", "--wearer", "w1", "--no-store", "--broker", "localhost:1"]
    result = CliRunner().invoke(main, [*arguments, "--scope", scope])
    assert result.exit_code == 2
    assert says in result.output
