"""Which scopes of an erasure there are, and what is said about the others before anything is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.cli.rights.scope import asked_scope
from streams.consent.erased import ErasedTime, Scope
from streams.worker.erasure_receipt import text_of
from tests.queries.several import SHARES, part
from tests.snapshots.build import POLICY


@pytest.mark.parametrize(
    ("scope", "means"),
    [
        ("all", "all"),
        ("since 2026-09-21", "since 2026-09-21T00:00:00Z"),
        ("since 2026-09-21T23:59:59Z", "since 2026-09-21T00:00:00Z"),
        ("since 2026-09-21T01:00:00+02:00", "since 2026-09-20T00:00:00Z"),
        ("place home", "place home"),
        ("place cafe from 2026-09-21T10:00:00.5Z", "place cafe from 2026-09-21T10:00:00.500000Z"),
        ("place cafe until 2026-09-21T11:00Z", "place cafe until 2026-09-21T11:00:00Z"),
        (
            "place cafe until 2026-09-22 from 2026-09-21",
            "place cafe from 2026-09-21T00:00:00Z until 2026-09-22T00:00:00Z",
        ),
    ],
)
def test_a_day_is_rounded_to_its_beginning_and_never_later_and_a_place_is_not(scope: str, means: str) -> None:
    assert text_of(asked_scope(scope)) == means


def test_it_is_the_same_scope_whatever_was_known_of_the_stays() -> None:
    asked = asked_scope("place home from 2026-09-21")
    found = Scope(asked.since_ns, 0, "home", (ErasedTime(1, 2),), (3,))
    assert asked.same(found)
    assert not asked.same(Scope(asked.since_ns, 0, "work"))
    assert not asked.same(asked_scope("place home"))


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("place", "expected all, since TIME, such as since 2026-09-21, or place PLACE"),
        ("place attic", "expected one that devices name: cafe, clinic, home, street, unknown, work"),
        ("place home since 2026-09-21", "with from TIME or until TIME behind it"),
        ("place home from", "with from TIME or until TIME behind it"),
        ("place home from 2026-09-21 from 2026-09-22", "with from TIME or until TIME behind it"),
        ("place home from 2026-09-22 until 2026-09-21", "expected from before until"),
        ("place home until 2999-01-01", "a time to come"),
        ("place home from noon", "a time in RFC 3339"),
        ("since", "expected all, since TIME"),
        ("all of it", "expected all, since TIME"),
        ("", "expected all, since TIME"),
        ("since yesterday", "a time in RFC 3339"),
        ("since 2999-01-01", "a time to come"),
        # Said before the broker is asked: who may not know where somebody was is not told.
        ("place home", "the role analyst may not ask about all that is held of this wearer"),
    ],
)
def test_another_scope_is_refused_before_anything_is_asked(scope: str, says: str) -> None:
    arguments = ["rights", "erase", "--wearer", "w1", "--no-store", "--broker", "localhost:1"]
    result = CliRunner().invoke(main, [*arguments, "--role", "analyst", "--scope", scope])
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    ("place", "since", "until", "role", "says"),
    [
        ("attic", "2026-09-21", "2026-09-22", "privacy-officer", "--place: found place attic, expected one"),
        ("cafe", "2026-09-22", "2026-09-21", "privacy-officer", "expected from before until"),
        ("cafe", "2026-09-21", "2999-01-01", "privacy-officer", "a time to come"),
        ("cafe", "2026-09-21", "2026-09-22", "analyst", "may not ask who was at a place"),
        ("cafe", "2026-09-21", "2026-09-22", "wearer:w1", "may not ask who was at a place"),
    ],
)
def test_for_a_bystander_another_request_is_refused_before_anything_is_asked(
    place: str, since: str, until: str, role: str, says: str
) -> None:
    times = ["--place", place, "--from", since, "--until", until]
    more = ["--no-store", "--broker", "localhost:1", "--role", role]
    result = CliRunner().invoke(main, ["rights", "bystander", *times, *more])
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    "command",
    [
        ("erase", "--wearer", "w1"),
        ("erase", "--wearer", "w1", "--scope", "place home", "--role", "privacy-officer"),
        (
            *("bystander", "--place", "cafe", "--from", "2026-09-21", "--until", "2026-09-22"),
            *("--role", "privacy-officer"),
        ),
        ("requests",),
        ("requests", "--erase", "--no-store"),
    ],
    ids=" ".join,
)
def test_a_part_of_what_there_is_is_refused_before_anything_is_asked(
    tmp_path: Path, command: Sequence[str]
) -> None:
    """A receipt would say of rows in the other store that they are gone, and a request there is unheard."""
    first, second = (
        part(tmp_path / f"part-{place}", partitions, {"policies": [POLICY]})
        for place, (partitions, _) in enumerate(SHARES)
    )
    nobody = ["--broker", "localhost:1", "--keys", str(tmp_path / "keys")]
    result = CliRunner().invoke(main, ["rights", *command, "--store", str(first), *nobody])
    assert result.exit_code == 2, result.output
    assert f"found {first} without what is in partitions 2-3 of glasses.lineage" in result.stderr
    assert not (tmp_path / "keys").exists()
    both = ["--store", str(first), "--store", str(second)]
    result = CliRunner().invoke(main, ["rights", *command, *both, *nobody])
    assert "without what is in partitions" not in result.stderr
    assert result.exit_code, "the control: it comes as far as the broker, which is not there"
