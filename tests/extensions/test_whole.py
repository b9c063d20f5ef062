"""An extension in the pipeline without a broker: policy, stages, store, replay, and what lacks it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from device_sim.device import Captured
from device_sim.files import Journal, read_journal
from streams.cli.main import main
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.record import Outgoing, StoredRecord
from streams.pipeline.live import LiveGlasses
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.processing.extended import extended_operators
from streams.processing.operators import Operators
from streams.snapshots.intake import decode
from streams.topology import DERIVED, LINEAGE, ZONED
from streams.worker.bootstrap import say_kinds
from tests import build
from tests.docs.check import faults
from tests.extensions.temple import OPERATORS as OWN
from tests.extensions.temple import WINDOW_SAMPLES

TEMPLE = "tests.extensions.temple"
OPERATORS = extended_operators([TEMPLE])
NAMED = (
    'temple = { categories = ["pd:Health"], nature = "observed" }\n'
    'warmth = { categories = ["pd:Health"], nature = "inferred" }\n'
)
ZONE = """
[[zones]]
name = "fever-watch"
rank = 64
when = "consent_given && kind == 'temple' && place == 'street'"
mode = "enforcing"
subjects = ["wearer"]
purposes = ["dpv:RequestedServiceProvision", "dpv:LegalCompliance"]
regions = ["household"]
retention = "day"
reason = "What a thermometer says is looked at, and forgotten."
"""
EXAMPLE = '\n[[tests]]\nevent = { kind = "temple", place = "street" }\nzone = "fever-watch"\n'


def text(named: str = NAMED, more: str = "") -> str:
    return build.policy().text.replace("\n[kinds]\n", f"\n[kinds]\n{named}") + more


def policy(named: str = NAMED, more: str = "") -> Policy:
    return parse(text(named, more), "own.toml", kinds=OPERATORS.kinds)


def temple(first: int, count: int, **around: Any) -> Batch:
    skin_c = {"skin_c": [33.0 + (number // 10) * 3 for number in range(first, first + count)]}
    return build.batch("temple", None, first, count, columns=skin_c, kinds=OPERATORS.kinds, **around)


DAY = [temple(0, 12), temple(12, 8), temple(20, 10, place="street"), build.imu(0.1, 0, 40)]


def core(in_force: Policy, operators: Operators = OPERATORS) -> LiveGlasses:
    return LiveGlasses(build.followed(in_force), operators=operators)


def warmths(records: list[Outgoing]) -> list[tuple[int, str]]:
    """(number, warmth) of what the operator made."""
    values = [orjson.loads(record.value or b"") for record in records if record.topic == DERIVED]
    return sorted(
        (value["first"], value["columns"]["warmth"][0]) for value in values if value["kind"] == "warmth"
    )


def test_a_captured_kind_is_judged_by_its_own_zone_and_made_into_events() -> None:
    records, _ = build.process(core(policy(more=ZONE)), [build.fetch(DAY)])
    expected = [
        (first, "warm" if 33 + first // 10 * 3 >= 35 else "cool") for first in range(0, 30, WINDOW_SAMPLES)
    ]
    assert warmths(records) == expected
    zones = {
        row["first"]: row["zone"] for row in build.lineage(records)["events"] if row["stream"] == "temple"
    }
    assert zones == {0: "home-private", 12: "home-private", 20: "fever-watch"}


def test_whoever_lacks_the_package_reads_the_policy_that_names_its_kinds() -> None:
    """Published texts are read whatever they name: by a store's readers, by workers, by the child."""
    whole = text(more=ZONE + EXAMPLE)
    published = parse(whole, "glasses.policies")
    assert published.unknown(build.CODEC.kinds) == ["temple", "warmth"]
    assert published.version == policy(more=ZONE + EXAMPLE).version
    with pytest.raises(
        InputError, match="'temple' is not a kind of event, of ours or of a package that --extend"
    ):
        parse(whole, "own.toml", kinds=build.CODEC.kinds)


@pytest.mark.parametrize(
    ("named", "more", "sentence"),
    [
        ("", ZONE, "'temple' is a word that no attribute can have"),
        ("", EXAMPLE, "'temple' is not a captured kind that this policy labels"),
    ],
)
def test_a_kind_that_has_no_label_is_no_word_of_a_condition(named: str, more: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        policy(named, more)


def test_policy_check_says_which_kinds_it_does_not_name(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text(more=ZONE), encoding="utf-8")
    for file, unnamed in ((str(own), "none"), ("household", "temple, warmth")):
        result = CliRunner().invoke(main, ["policy", "check", file, "--extend", TEMPLE, "--json"])
        assert result.exit_code == 0, result.output
        answer = orjson.loads(result.stdout)
        assert answer["kinds that it does not name, so refused"] == unnamed
        taken = {row["zone"]: row["takes"] for row in answer["zones"]}
        # Of people near, minor near, light and worn any: what has rank above it takes the rest.
        assert (taken.get("fever-watch", 0) > 0) == (file == str(own))


def test_a_kind_that_the_policy_does_not_name_is_refused_and_nothing_else() -> None:
    unaware = build.policy()
    assert unaware.unnamed(OPERATORS.kinds) == ["temple", "warmth"]
    records, _ = build.process(core(unaware), [build.fetch(DAY)])
    assert warmths(records) == []
    about = {
        (row["verdict"], row["rule"])
        for row in build.lineage(records)["decisions"]
        if row["stream"] == "temple"
    }
    assert about == {("unconfigured", "kinds: the policy says nothing about temple")}
    assert any(record.topic == DERIVED for record in records) is False


def test_the_writer_takes_both_kinds_and_without_the_package_says_what_it_lacks() -> None:
    records, _ = build.process(core(policy(more=ZONE)), [build.fetch(DAY)])
    lineage = [
        StoredRecord(offset, 0, record.key, record.value)
        for offset, record in enumerate(record for record in records if record.topic == LINEAGE)
    ]
    whole = decode.read({0: lineage}, OPERATORS.kinds)
    assert (list(whole.rejected()), whole.of_unknown_kinds()) == ([], 0)
    lacking = decode.read({0: lineage})
    assert lacking.of_unknown_kinds() == 1
    (row,) = lacking.rejected()
    assert "kind: found a kind that is not known here" in str(row["reason"])
    assert "temple" not in str(row["reason"])


def journalled(directory: Path) -> Path:
    """A journal of a device with the thermometer."""
    journal = Journal(directory, "g1", OPERATORS.kinds)
    try:
        for number, batch in enumerate([build.gives(1, 0, build.T0_NS), *DAY]):
            sent = journal.write(Captured(batch, ()), batch.t0_ns)
            journal.arrived(sent.id, batch.t0_ns + number)
    finally:
        journal.close()
    return directory


def test_a_replay_without_the_package_names_the_kind_and_the_option(tmp_path: Path) -> None:
    journal, store = journalled(tmp_path / "journal"), tmp_path / "store"
    own = tmp_path / "own.toml"
    own.write_text(text(more=ZONE), encoding="utf-8")
    lacking = ["replay", str(journal), "--store", str(store), "--policy"]
    result = CliRunner().invoke(main, [*lacking, "household"])
    assert result.exit_code == 2
    assert "found events of kinds that are not known here (temple)" in result.stderr
    assert "--extend PACKAGE" in result.stderr
    assert not store.exists()
    result = CliRunner().invoke(main, [*lacking, str(own), "--extend", TEMPLE])
    assert result.exit_code == 0, result.output
    # The store has them, and is read without the package: questions, SQL, its policies.
    for words in (
        ["ask", "ancestors", "g1/warmth/5"],
        ["ask", "creep"],
        ["ask", "completeness"],
        ["policy", "recheck"],
        [
            "sql",
            "SELECT kind, sum(count) FROM events WHERE kind IN ('temple', 'warmth') GROUP BY 1 ORDER BY 1",
        ],
    ):
        result = CliRunner().invoke(main, [*words, "--store", str(store), "--role", "privacy-officer"])
        assert result.exit_code == 0, (words, result.output)
    assert [line.split()[-2:] for line in result.stdout.splitlines() if "warmth" in line] == [["warmth", "6"]]
    assert [line.split()[-2:] for line in result.stdout.splitlines() if "temple" in line] == [
        ["temple", "30"]
    ]
    inputs = ["replay", str(journal), "--inputs", str(store), "--compare"]
    result = CliRunner().invoke(main, inputs)
    assert result.exit_code == 2
    assert "store: found events of kinds that are not known here (temple, warmth)" in result.stderr


def test_a_journal_with_own_kinds_is_read_by_who_knows_them(tmp_path: Path) -> None:
    journal = journalled(tmp_path / "journal") / "g1.jsonl"
    assert read_journal(journal, OPERATORS.kinds).past.next_numbers == {
        "consent-change": 1,
        "temple": 30,
        "imu-right": 40,
    }
    with pytest.raises(InputError, match=r"is no device's journal line \(kind: found one that is not"):
        read_journal(journal)


def test_another_version_lets_go_of_what_the_one_before_had_open_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_force = policy()
    half = [temple(0, WINDOW_SAMPLES - 2)]
    records, state = build.process(core(in_force), [build.fetch(half)])
    assert warmths(records) == []
    entries = core(in_force).save(None, state)
    changed = Operators.of(OPERATORS.kinds, *list(OPERATORS.values())[:-1], replace(OWN[0], version=2))
    rest = [build.fetch([temple(WINDOW_SAMPLES - 2, 8)], offset=1)]
    numbers = {}
    for version, operators in ((1, OPERATORS), (2, changed)):
        owner = core(in_force, operators)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            again = owner.restore(0, entries)
        made, after = build.process(owner, rest, again)
        numbers[version] = [number for number, _ in warmths(made)]
        said = [record.getMessage() for record in caplog.records]
        assert said == (
            []
            if version == 1
            else [
                "Operator warmth is version 2 now: its open windows and what it remembered of 1 devices of "
                "partition 0 are of another version, and are let go"
            ]
        )
        # What the new one leaves open is its own: it is not let go a second time.
        assert after.devices["g1"].windows.keys() == {"warmth"}
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert owner.restore(0, owner.save(None, after)).devices["g1"] == after.devices["g1"]
        assert not caplog.records
    assert numbers == {1: [0, 5], 2: [3, 5]}
    widths = {
        row["child_first"]: (row["operator_version"], row["parent_width"])
        for row in build.lineage(made)["edges"]
        if row["operator"] == "warmth"
    }
    assert widths == {3: (2, 2), 5: (2, 5)}


def test_a_policy_file_of_own_kinds_needs_the_package(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text(), encoding="utf-8")
    assert load(str(own), kinds=OPERATORS.kinds).unnamed(OPERATORS.kinds) == []
    result = CliRunner().invoke(main, ["worker", "--policy", str(own), "--broker", "127.0.0.1:9"])
    assert result.exit_code == 2
    assert "'temple' is not a kind of event, of ours or of a package that --extend names" in result.stderr


def test_readers_get_schemas_that_fit_what_is_on_the_topics(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["topics", "--schemas", str(tmp_path / "made"), "--extend", TEMPLE])
    assert result.exit_code == 0, result.output
    schemas = {
        name: orjson.loads((tmp_path / "made" / f"{name}.json").read_bytes()) for name in ("temple", "warmth")
    }
    records, _ = build.process(core(policy()), [build.fetch(DAY)])
    values = [orjson.loads(record.value or b"") for record in records if record.topic in {ZONED, DERIVED}]
    met = [value for value in values if value["kind"] in schemas]
    assert {value["kind"] for value in met} == {"temple", "warmth"}
    for value in met:
        assert list(faults(value, schemas[value["kind"]])) == []
        value["columns"] = {name: [None] for name in value["columns"]}
        assert list(faults(value, schemas[value["kind"]]))
    page = (tmp_path / "made" / "kinds.md").read_text(encoding="utf-8")
    assert "| `skin_c` | °C | number, f4 | Temperature of the skin. |" in page
    assert "| `warmth` |  | cool, warm |  |" in page
    result = CliRunner().invoke(main, ["topics", "--schemas", str(tmp_path / "none")])
    assert (result.exit_code, "found no kinds beside those that are shipped" in result.stderr) == (2, True)
    assert not (tmp_path / "none").exists()


def test_the_ledger_counts_kinds_that_it_does_not_know_and_names_them(tmp_path: Path) -> None:
    journal, own = journalled(tmp_path / "journal"), tmp_path / "own.toml"
    own.write_text(text(), encoding="utf-8")
    store = ["--store", str(tmp_path / "store")]
    made = ["replay", str(journal), *store, "--policy", str(own), "--extend", TEMPLE]
    assert CliRunner().invoke(main, made).exit_code == 0
    for extend, unknown in (([], ["temple", "warmth"]), (["--extend", TEMPLE], [])):
        result = CliRunner().invoke(main, ["ledger", str(journal), *store, *extend, "--json"])
        assert result.exit_code == 0, result.output
        told = orjson.loads(result.stdout)
        assert (told["clean"], told["kinds_unknown"], told["kinds"][-2:]) == (
            True,
            unknown,
            ["temple", "warmth"],
        )
    result = CliRunner().invoke(main, ["ledger", str(journal), *store])
    assert "kinds     temple, warmth: not known here; --extend names the package that has" in result.stdout


def test_a_worker_says_which_kinds_its_policy_and_it_do_not_have_in_common(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for in_force, kinds, sentence in (
        (build.policy(), OPERATORS.kinds, "says nothing about temple, warmth: events of it are refused"),
        (policy(), build.CODEC.kinds, "names temple, warmth, which is not known here"),
        (policy(), OPERATORS.kinds, ""),
        (build.policy(), build.CODEC.kinds, ""),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            say_kinds(in_force, kinds)
        told = [record.getMessage() for record in caplog.records]
        assert [sentence in line for line in told] == ([True] if sentence else [])
