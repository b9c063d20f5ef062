"""Whether a record is ours, and what of the devices' data is missing because other data have its numbers."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import xxhash
from click.testing import CliRunner, Result

from streams.cli.main import main
from streams.errors import InputError
from streams.queries import questions
from streams.queries.missing import CollisionRun, missing
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import POLICY, Row, event, row, store, stream, tagged

VALUE = b'{"n":2}'
OURS = xxhash.xxh3_128_hexdigest(VALUE)
OTHER = xxhash.xxh3_128_hexdigest(b"forged")


def rejected(rule: str, first: int, **columns: object) -> Row:
    about = {"source": "g1", "stream": "imu", "first": first, "count": 20, "topic": "glasses.captured"}
    return row("rejected", **about, stage="zones", rule=rule, **columns)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(
        tmp_path_factory.mktemp("genuine") / "s",
        {
            "policies": [POLICY],
            "streams": [stream("g1", "imu"), stream("g1", "activity", "activity", captured=False)],
            "events": [
                event("g1", "imu", 0, 40, **tagged(wearer="w1")),
                event("g1", "activity", 50, 2, step=50, **tagged() | {"kind": "activity"}, digest=OURS),
                event("g1", "answer", 3, kind="answer", policy_version="unknown", digest=OURS),
            ],
            "rejected": [
                rejected("pairing", 60, policy_version=POLICY["version"], zone="public"),
                # The same data twice, by the link, and other ones.
                rejected("collision", 20, digest=OTHER),
                rejected("collision", 20, digest=OTHER),
                rejected("collision", 20, digest=OURS),
                # What had the number first is not known either.
                rejected("collision", 40, digest=OTHER),
                rejected("pairing", 90, policy_version="unknown", zone="clinic"),
            ],
        },
    )


def ask(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["ask", *arguments, "--store", str(path)])


def test_a_record_that_an_agent_wrote_is_ours(path: Path) -> None:
    for digest in (OURS, OURS.upper()):
        result = ask(path, "genuine", "g1/activity/50", digest, "--json")
        assert (result.exit_code, orjson.loads(result.output)["genuine"]) == (0, True)
    answer = orjson.loads(result.output)
    assert (answer["zone"], answer["kind"], answer["partition"]) == ("public", "activity", 0)
    assert "this id and this value" in ask(path, "genuine", "g1/activity/50", OURS).output


@pytest.mark.parametrize(
    ("identity", "digest", "says"),
    [
        ("g1/activity/50", OTHER, "an agent wrote a record with this id and another value"),
        ("g1/activity/100", OURS, "an agent wrote with g1/activity/100 in it bears the id g1/activity/50"),
        ("g1/activity/75", OURS, "g1/activity/75: no agent wrote it: epoch 1 of "),
        ("g9/activity/50", OURS, "holds what was written below offset 0 of glasses.lineage"),
        ("g1/activity/50.1", OURS, "g1/activity/50.1: no agent wrote it: epoch 1 of "),
    ],
)
def test_a_record_that_no_agent_wrote_is_not(path: Path, identity: str, digest: str, says: str) -> None:
    with Store.open(path) as opened:
        found = questions.genuine(opened, identity, digest)
    assert not found.genuine
    assert says in found.says


def test_what_was_rejected_has_no_record(path: Path) -> None:
    result = ask(path, "genuine", "g1/imu/60", OURS, "--role", "privacy-officer")
    assert result.exit_code == 1
    assert "g1/imu/60 was rejected (pairing), so no agent wrote a record of it" in result.output


@pytest.mark.parametrize("digest", ["", "g" * 32, OURS[:-1], OURS + "0"])
def test_no_digest_is_a_sentence(path: Path, digest: str) -> None:
    result = ask(path, "genuine", "g1/activity/50", digest)
    assert result.exit_code == 2
    assert "expected 32 hexadecimal digits" in result.output


def test_a_role_is_told_nothing_of_what_it_is_not_shown(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened, pytest.raises(InputError, match="does not show it"):
        questions.genuine(opened, "g1/answer/3", OURS)
    with Store.open(path, Role.of("analyst")) as opened, pytest.raises(InputError, match="does not show it"):
        questions.genuine(opened, "g1/imu/95", OURS)


def test_why_says_that_no_agent_wrote_an_id_and_how_far_it_knows(path: Path) -> None:
    with Store.open(path) as opened, pytest.raises(InputError) as said:
        questions.why(opened, "g1/answer/17")
    assert "g1/answer/17: no agent wrote it" in str(said.value)
    assert "below offset 0 of glasses.lineage" in str(said.value)
    assert "If a record bears this id it is not ours, or it was written after that" in str(said.value)
    result = ask(path, "why", "g1/answer/17")
    assert result.exit_code == 2
    assert "g1/answer/17: the role analyst is shown no such event" in result.output
    assert "below offset 0 of glasses.lineage" in result.output


def test_data_whose_numbers_others_have_are_missing(path: Path) -> None:
    with Store.open(path) as opened:
        answer = missing(opened)
    assert answer.collisions.rows == tuple(CollisionRun("g1", "imu", first, 20) for first in (20, 20, 40))
    assert [(run.first, run.count) for run in answer.missing] == [(40, 20), (80, 10)]
    assert answer.missing_events == 90
    # One refusal that no policy explains is shown to nobody, and so the stream to nobody whole.
    for role in ("analyst", "privacy-officer"):
        said = ask(path, "missing", "--role", role)
        assert said.exit_code == 0
        assert "not shown whole" in said.output
        assert "missing\nsource" not in said.output


def test_collisions_are_shown_to_whom_the_stream_is(path: Path) -> None:
    with Store.open(path, Role.of("wearer:nobody")) as opened:
        answer = missing(opened)
    assert (answer.collisions.rows, answer.missing_events) == ((), 0)


def test_collisions_of_a_stream_of_which_nothing_is_stored_are_the_officers_to_see(tmp_path: Path) -> None:
    only = store(tmp_path / "only", {"rejected": [rejected("collision", 20, digest=OTHER)]})
    with Store.open(only, Role.of("privacy-officer")) as opened:
        assert missing(opened).missing_events == 20
    with Store.open(only, Role.of("analyst")) as opened:
        assert missing(opened).missing_events == 0
