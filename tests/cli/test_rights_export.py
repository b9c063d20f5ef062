"""`sightline rights export` on the store of the golden life: what is written, on record, refused, erased."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.cli.main import main
from streams.cli.rights.export import _left_out
from streams.policy.recheck import StoredPolicies
from streams.queries.own import own
from streams.queries.role import Role
from streams.queries.store import Store
from streams.sealing.erasures import STEPS, Done
from streams.sealing.key_store import KeyStore
from streams.topology import TO_WEARER
from streams.worker.own_values import OwnValues
from tests.build import CODEC
from tests.queries.golden import played
from tests.queries.several import SHARES, part
from tests.snapshots.build import POLICY, event, tagged

AT_NS = 1_790_000_000 * 10**9
OFFICER = "privacy-officer"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("golden"), {})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key store with an erasure of `gone`, and one of `going` that is not finished."""
    with contextlib.closing(KeyStore.made(tmp_path / "keys")) as made:
        for wearer, steps in (("gone", STEPS), ("going", STEPS[:2])):
            number = made.erasures.request(wearer, made.mark_of(wearer), AT_NS).number
            for step in steps:
                made.erasures.done(number, step, Done(AT_NS, 0))
    return tmp_path / "keys"


def export(
    store: Path, out: Path, *more: str, wearer: str = "w1", role: str = OFFICER, keys: Path | None = None
) -> Result:
    words = ["rights", "export", "--wearer", wearer, "--out", str(out), "--store", str(store), "--role", role]
    return CliRunner().invoke(main, [*words, "--as", "access", "--keys", str(keys or out / "no"), *more])


def logged(store: Path) -> list[dict[str, Any]]:
    path = store / "reads.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("role", [OFFICER, "wearer:w1"])
def test_access_is_a_page_and_json_for_the_owner_of_the_files_alone(
    store: Path, tmp_path: Path, role: str
) -> None:
    result = export(store, out := tmp_path / "out", role=role)
    assert result.exit_code == 0, result.output
    files = sorted(out.iterdir())
    assert [path.name for path in files] == ["access.html", "access.json", "manifest.json"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert out.stat().st_mode & 0o777 == 0o700
    access, manifest = (json.loads((out / name).read_bytes()) for name in ("access.json", "manifest.json"))
    for listed in manifest["files"]:
        assert hashlib.sha256((out / listed["file"]).read_bytes()).hexdigest() == listed["sha256"]
    assert access["rows"]["events"]["rows"]
    page = (out / "access.html").read_text()
    words = ("to do what you ask the glasses for", "to train the assistant's model".replace("'", "&#39;"))
    for text in ("Data of wearer w1", "glasses.examples", "home-private", role, *words):
        assert text in page, text
    # Terms are for programs, and stand in the JSON.
    assert not re.findall(r"\b(?:dpv|ai):\w+", page)
    assert {each["purpose"] for each in access["recipients"]} >= {"dpv:RequestedServiceProvision"}
    assert "http" not in page.replace("http-equiv", "")
    assert {each["sink"] for each in access["recipients"]} >= {"store", "glasses.zoned", "assistant"}
    assert [each["of"] for each in manifest["left_out"]] == ["values"]
    assert list(tmp_path.iterdir()) == [out], "nothing of the making is left"


def test_it_is_on_record_as_what_was_handed_to_the_wearer(store: Path, tmp_path: Path) -> None:
    before = len(logged(store))
    assert export(store, tmp_path / "out").exit_code == 0
    (line,) = logged(store)[before:]
    assert line["question"] == f"rights export --wearer w1 --as access --out {tmp_path / 'out'}"
    assert (line["role"], line["exported"], line["into"]) == (OFFICER, True, "ask:wearer")
    assert line["zones"] == ["bystander-present"]
    assert line["wrote"]
    asked = CliRunner().invoke(main, ["inventory", "--store", str(store), "--role", OFFICER, "--json"])
    flows = [each for each in json.loads(asked.stdout)["flows"] if each["how"] == "read by"]
    read = {each["to"]: each["standing"] for each in flows if each["events"]}
    assert read["ask:wearer"] == "declared", "it did not go into the sink export, which may not have it"
    assert "export" not in read


def test_what_cannot_be_recorded_is_not_written(store: Path, tmp_path: Path) -> None:
    (log := store / "reads.jsonl").touch()
    kept = log.rename(tmp_path / "kept")
    log.symlink_to(tmp_path / "elsewhere")
    try:
        result = export(store, tmp_path / "out")
    finally:
        log.unlink()
        kept.rename(log)
    assert result.exit_code == 3
    assert "what is not recorded is not shown" in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_was_not_provided_is_counted_once_also_if_it_is_about_others(store: Path) -> None:
    """The oracle is how many examples the store has of her."""
    with Store.open(store, Role("privacy-officer", exporting=True, into=TO_WEARER)) as opened:
        held = own(opened, "w1")
        [(examples,)] = opened.sql(
            "SELECT sum(count) FROM events WHERE wearer = 'w1' AND kind = 'example'"
        ).rows
        policies = StoredPolicies(opened.policies)
    values = OwnValues("w1", Role("privacy-officer"), CODEC, policies, provided=True)
    for others in (0, 2, examples):
        values.left_out["example", "it is about others too: bystander (zone bystander-present)"] = others
        told = [each.events for each in _left_out(held, values) if each.of == "example"]
        assert sum(told) == examples > 2, others
        assert all(told) or not others


def test_who_is_handed_a_part_is_told_so(tmp_path: Path) -> None:
    """On the page and in the manifest, which she reads, and not to whoever wrote them alone."""
    [(partitions, _), _] = SHARES
    rows = {"policies": [POLICY], "events": [event("g1", "imu", 0, 10, **tagged(wearer="w1"))]}
    result = export(part(tmp_path / "store", partitions, rows), out := tmp_path / "out")
    assert result.exit_code == 0, result.output
    absent = "what is in partitions 2-3 of glasses.lineage, because no opened store holds it"
    assert absent in result.stderr
    left_out = json.loads((out / "manifest.json").read_bytes())["left_out"]
    assert [each["reason"].startswith(absent) for each in left_out] == [True, False]
    assert absent in (out / "access.html").read_text()


@pytest.mark.parametrize(
    ("wearer", "role", "more", "words"),
    [
        ("w1", "analyst", (), "the role analyst may not ask about all that is held of this wearer"),
        ("w1", "wearer:w2", (), "expected privacy-officer or wearer:w1"),
        ("w9", OFFICER, (), "has nothing of such a wearer"),
        ("W 1", OFFICER, (), "expected lower-case letters"),
        ("w1", OFFICER, ("--as", "portability"), "found no --broker"),
        ("w1", OFFICER, ("--as", "everything"), "is not one of"),
    ],
)
def test_what_is_refused_is_one_sentence_and_leaves_nothing(
    store: Path, tmp_path: Path, wearer: str, role: str, more: tuple[str, ...], words: str
) -> None:
    result = export(store, tmp_path / "out", *more, wearer=wearer, role=role)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_there_is_not_written_into(store: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = export(store, tmp_path / "out")
    assert result.exit_code == 2
    assert "no file is replaced" in result.stderr
    assert not list((tmp_path / "out").iterdir())


def test_who_was_erased_is_told_that_and_nothing_else(store: Path, tmp_path: Path, keys: Path) -> None:
    before = len(logged(store))
    result = export(store, tmp_path / "out", "--json", wearer="gone", keys=keys)
    assert result.exit_code == 0, result.output
    with contextlib.closing(KeyStore(keys)) as opened:
        [number] = [each.number for each in opened.erasures.all() if each.next_step is None]
    assert json.loads(result.stdout) == {
        "wearer": "gone",
        "erased": [{"erasure": number, "at": "2026-09-21T14:13:20.000000Z"}],
        "role": OFFICER,
        "hidden": {},
    }
    assert not (tmp_path / "out").exists()
    assert len(logged(store)) == before, "nothing was read of anybody"
    people = export(store, tmp_path / "out", wearer="gone", keys=keys).stdout
    assert people.splitlines()[-1].split() == [str(number), "2026-09-21T14:13:20Z"]


def test_an_erasure_that_is_not_finished_is_waited_for(store: Path, tmp_path: Path, keys: Path) -> None:
    result = export(store, tmp_path / "out", wearer="going", keys=keys)
    assert result.exit_code == 3, result.output
    assert "before its end" in result.stderr
    assert not (tmp_path / "out").exists()
