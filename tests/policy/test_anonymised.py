"""A policy says what an anonymised export has to hold to, in whole numbers; without that it permits none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.errors import InputError
from streams.policy.load import load
from streams.policy.rules import AnonymityBounds
from streams.policy.source import POLICIES, shipped_names

HOUSEHOLD = (POLICIES / "household.toml").read_text(encoding="utf-8")
BOUNDS = {
    "k_min": 5,
    "l_min": 2,
    "t_percent_max": 30,
    "suppressed_percent_max": 20,
    "unique_percent_max": 0,
}


def table(**bounds: object) -> str:
    """The table of a policy, with these bounds."""
    return "[anonymised]\n" + "".join(f"{name} = {bound}\n" for name, bound in bounds.items())


def written(path: Path, *tables: str) -> str:
    """A policy like that of the demo, with these tables besides."""
    path.write_text("\n".join((HOUSEHOLD, *tables)), encoding="utf-8")
    return str(path)


def test_the_bounds_are_those_of_the_table(tmp_path: Path) -> None:
    loaded = load(written(tmp_path / "mine.toml", table(**BOUNDS)))
    assert loaded.anonymised == AnonymityBounds(5, 2, 30, 20, 0)
    assert loaded.version == hashlib.sha256(loaded.text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", shipped_names())
def test_a_policy_without_the_table_permits_none(name: str) -> None:
    assert load(name).anonymised is None


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ({"k_min": 1}, r"line \d+: 'k_min' is 1, expected 2 to 10000"),
        ({"l_min": 0}, r"line \d+: 'l_min' is 0, expected 1 to 10000"),
        ({"t_percent_max": 101}, r"line \d+: 't_percent_max' is 101, expected 0 to 100"),
        ({"t_percent_max": 0.3}, r"line \d+: 't_percent_max' of the table anonymised is float, expected int"),
        ({"unique_percent_max": -1}, r"line \d+: 'unique_percent_max' is -1, expected 0 to 100"),
        ({"k": 5}, r"line \d+: 'k' is not a field of the table anonymised"),
    ],
)
def test_a_wrong_bound_is_a_sentence(bounds: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        load(written(tmp_path / "mine.toml", table(**BOUNDS | bounds)))


@pytest.mark.parametrize("missing", BOUNDS)
def test_no_bound_is_left_to_a_default(missing: str, tmp_path: Path) -> None:
    bounds = {name: bound for name, bound in BOUNDS.items() if name != missing}
    with pytest.raises(InputError, match=f"'anonymised' lacks the field '{missing}'"):
        load(written(tmp_path / "mine.toml", table(**bounds)))
    with pytest.raises(InputError, match="'anonymised' lacks the field"):
        load(written(tmp_path / "mine.toml", "[anonymised]"))


def test_one_file_of_a_policy_has_the_table(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(table(**BOUNDS), encoding="utf-8")
    mine = written(tmp_path / "mine.toml", table(**BOUNDS))
    text = Path(mine).read_text(encoding="utf-8").replace("imports = [", 'imports = ["more.toml", ')
    Path(mine).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"\[anonymised\]"):
        load(mine)


def test_of_two_policies_the_stricter_bounds_hold() -> None:
    assert AnonymityBounds(5, 2, 30, 20, 0).together(AnonymityBounds(3, 4, 50, 10, 5)) == AnonymityBounds(
        5, 4, 30, 10, 0
    )


def test_check_and_diff_say_the_bounds(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.toml", table(**BOUNDS))
    less = written(tmp_path / "less.toml", table(**BOUNDS | {"k_min": 3}))
    run = CliRunner().invoke
    assert "anonymised exports" in run(main, ["policy", "check", mine]).stdout
    assert "k_min 5, l_min 2, t_percent_max 30" in run(main, ["policy", "check", mine]).stdout
    differing = run(main, ["policy", "diff", mine, less, "--exit-code"])
    assert differing.exit_code == 1
    assert differing.stdout.splitlines()[-3:] == [
        "what an anonymised export has to hold to differs",
        "bound  old  new",
        "k_min    5    3",
    ]
    assert run(main, ["policy", "diff", "household", "household", "--exit-code"]).exit_code == 0
    gone = run(main, ["policy", "diff", mine, "household", "--exit-code"])
    assert (gone.exit_code, gone.stdout.count("_percent_max")) == (1, 3)
