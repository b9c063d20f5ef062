"""Exports of standards: valid as others judge it, and exactly the edges that are stored and may leave."""

from __future__ import annotations

import json
import stat
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import networkx
import pytest
import xxhash
from click.testing import CliRunner, Result
from hypothesis import Phase, given, settings
from prov.model import ProvEntity, ProvSpecialization

from streams import limits, open_store, unfiltered
from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError, UnavailableError
from streams.queries.role import Role, RoleFilter
from streams.queries.standards.writing import STANDARDS, Standard, write_standard
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.queries.exported import (
    DAYS,
    HOUR_NS,
    check,
    edges_of,
    events_in,
    export,
    facets_in,
    in_graphml,
    in_prov,
    registry,
    singles,
)
from tests.queries.oracle import Oracle, oracles
from tests.queries.test_export import both, hidden_rows, shown_rows
from tests.snapshots.build import POLICY, T0_NS, store, tables, tagged


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs, an hour each."""
    path = tmp_path_factory.mktemp("days") / "s"
    writer = Writer.open(path)
    writer.ingest_tables(tables({"policies": [POLICY]}), T0_NS)
    for hour, rows in enumerate(DAYS, start=1):
        writer.ingest_tables(tables(rows), T0_NS + hour * HOUR_NS)
        writer.publish(T0_NS + hour * HOUR_NS)
    writer.close()
    return path


def test_graphml_has_the_edges_that_are_stored(days: Path, tmp_path: Path) -> None:
    graph, edges = in_graphml(export(days, "graphml", tmp_path / "x"))
    assert edges == edges_of(DAYS)
    assert graph.nodes["g1/activity/100..120+20"] | {"since": "", "until": ""} == {
        "kind": "activity",
        "zone": "public",
        "policy_version": tagged()["policy_version"],
        "events": 2,
        "since": "",
        "until": "",
    }
    assert {told["role"] for *_, told in graph.in_edges("g1/answer/200", data=True)} == {"activity", "model"}


def test_prov_unrolls_the_loop(days: Path, tmp_path: Path) -> None:
    document, edges = in_prov(export(days, "prov", tmp_path / "x"))
    assert edges == edges_of(DAYS)
    derived = networkx.DiGraph((child, parent) for child, parent, *_ in edges)
    assert networkx.is_directed_acyclic_graph(derived)
    assert networkx.has_path(derived, "training/intent-model/3", "training/intent-model/1")
    versions = [f"training/intent-model/{number}" for number in (1, 2, 3)]
    assert sorted(
        [value.localpart for _, value in relation.attributes]
        for relation in document.get_records(ProvSpecialization)
    ) == [[version, "training/intent-model"] for version in versions]
    entities = {str(entity.identifier.localpart) for entity in document.get_records(ProvEntity)}
    assert {name for child, parent, *_ in edges for name in (child, parent)} < entities


def test_openlineage_keeps_to_its_schema_and_to_the_stored_edges(days: Path, tmp_path: Path) -> None:
    events, known = events_in(export(days, "openlineage", tmp_path / "x")), registry()
    for told in events:
        check(told, "https://openlineage.io/spec/2-0-2/OpenLineage.json", known)
        for facet in facets_in(told):
            check(facet, facet["_schemaURL"], known)
    assert [told["eventTime"] for told in events] == sorted(told["eventTime"] for told in events)
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for told in events:
        for output in told.get("outputs", ()):
            for each in told["inputs"]:
                edges = sum(way["edges"] for way in each["inputFacets"]["sightline_edges"]["edges"])
                counted[told["eventTime"][:13], told["job"]["name"], each["name"], output["name"]] += edges
    stored = Counter(
        (
            events[0]["eventTime"][:11] + f"{int(events[0]['eventTime'][11:13]) + hour:02d}",
            f"{one['operator']}.{'/'.join(child[:2])}",
            "/".join(parent[:2]),
            "/".join(child[:2]),
        )
        for hour, rows in enumerate(DAYS)
        for one, child, parent in singles(rows["edges"])
    )
    assert counted == stored


def test_jobs_start_once_run_each_hour_and_training_completes(days: Path, tmp_path: Path) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    events = events_in(export(days, "openlineage", tmp_path / "x"))
    for each in events:
        if "run" in each:
            told[f"{each['job']['name']} {each['run']['runId']}"].append(each["eventType"])
    trained = [states for name, states in told.items() if name.startswith("training.")]
    assert trained == [["START", "COMPLETE"]] * 3
    running = [states for name, states in told.items() if not name.startswith("training.")]
    assert running == [["START", "RUNNING", "RUNNING", "RUNNING"]] * 4
    datasets = Counter(each["dataset"]["name"] for each in events if "dataset" in each)
    assert datasets == {"g1/imu": 3, "g2/imu": 3, "training/intent-model": 3}
    (answered, *_) = [
        each["outputs"][0]["facets"]
        for each in events
        if each.get("eventType") == "RUNNING" and each["job"]["name"] == "answer.g1/answer"
    ]
    assert answered["sightline_decisions"]["decisions"][0] | {"events": 0} == {
        "sink": "glasses.answers",
        "purpose": "",
        "zone": "voice-assistant",
        "verdict": "allow",
        "passed": True,
        "rule": "sinks",
        "policyVersion": tagged()["policy_version"],
        "events": 0,
    }
    assert answered["sightline_zones"]["zones"][0]["zone"] == "voice-assistant"
    assert "dpv:RequestedServiceProvision" in {
        each["purpose"] for each in answered["sightline_purposes"]["purposes"]
    }
    again = events_in(export(days, "openlineage", tmp_path / "again"))
    assert again == events, "a second export tells of other runs"


SHOWN = [shown_rows(number) for number in range(2)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stores that differ in hidden rows alone."""
    hiding = [both(rows, hidden_rows(number, "concealed")) for number, rows in enumerate(SHOWN)]
    home = tmp_path_factory.mktemp("pair")
    return {
        name: store(home / name, {"policies": [POLICY]}, *epochs)
        for name, epochs in (("plain", SHOWN), ("hiding", hiding))
    }


def told_by(path: Path, standard: Standard, out: Path, role: str) -> Any:
    """What an export says, but for what is a store's own: its id, and when its epochs were published."""
    text = export(path, standard, out, role).read_text(encoding="utf-8")
    assert "concealed" not in text
    with Store.open(path, Role("analyst")) as opened:
        ((store_id,),) = opened.sql("SELECT id FROM store").rows
    text = text.replace(store_id, "ID")
    if standard != "openlineage":
        return text
    return [{**told, "run": "", "eventTime": ""} for told in map(json.loads, text.splitlines())]


@pytest.mark.parametrize(
    ("standard", "role"),
    [("openlineage", "analyst"), ("graphml", "privacy-officer"), ("prov", "privacy-officer")],
)
def test_a_narrow_role_takes_out_what_it_is_shown(
    pair: dict[str, Path], tmp_path: Path, standard: Standard, role: str
) -> None:
    plain, hiding = (told_by(path, standard, tmp_path / name, role) for name, path in pair.items())
    assert plain == hiding
    if standard == "graphml":
        assert in_graphml(tmp_path / "hiding")[1] == edges_of(SHOWN)


@settings(max_examples=2, deadline=None, print_blob=True, phases=[Phase.generate])
@given(oracle=oracles(devices=("g1", "g2")))
def test_random_days_leave_whole_and_without_a_cycle(oracle: Oracle) -> None:
    """What the policies permit is another test's; here all of it may leave."""
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as name:
        patched.setattr(RoleFilter, "permits", lambda *_: True)
        path = store(Path(name) / "s", *oracle.epochs)
        edges = edges_of(oracle.epochs)
        _, in_nodes = in_graphml(export(path, "graphml", Path(name) / "g"))
        _, derived = in_prov(export(path, "prov", Path(name) / "p"))
    assert in_nodes == derived == edges
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph((key[0], key[1]) for key in edges))


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def test_a_file_that_is_there_is_not_replaced(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    out.write_text("mine")
    result = ask("graphml", str(out), "--store", str(days), "--role", "analyst")
    assert (result.exit_code, out.read_text()) == (2, "mine")
    assert "name another one" in result.stderr
    planted = tmp_path / "y"
    planted.symlink_to(tmp_path / "nowhere")
    assert ask("graphml", str(planted), "--store", str(days), "--role", "analyst").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_who_comes_first_meanwhile_keeps_the_name(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x"
    monkeypatch.setattr(Store, "record", lambda *_: out.write_text("theirs"))
    result = ask("graphml", str(out), "--store", str(days), "--role", "analyst")
    assert (result.exit_code, out.read_text()) == (2, "theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("standard", STANDARDS)
def test_an_export_is_on_record_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standard: Standard
) -> None:
    out, recorded = tmp_path / "x", list[str]()
    path = store(tmp_path / "s", {"policies": [POLICY]}, DAYS[0])

    def refuse(_self: Store, question: str, _wrote: str = "") -> None:
        recorded.append(question)
        assert not out.exists()
        raise UnavailableError("reads.jsonl: cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "record", refuse)
        result = ask(standard, str(out), "--store", str(path), "--role", "analyst", "--as-of", "2")
    assert (result.exit_code, recorded) == (3, [f"export {standard} {out} --as-of 2"])
    assert [each.name for each in tmp_path.iterdir()] == ["s"]
    assert ask(standard, str(out), "--store", str(path), "--role", "analyst").exit_code == 0
    (line,) = (path / AUDIT_LOG).read_text(encoding="utf-8").splitlines()
    recorded_line = json.loads(line)
    assert recorded_line["question"] == f"export {standard} {out}"
    assert (recorded_line["zones"], recorded_line["exported"]) == ([], True)
    assert recorded_line["wrote"] == xxhash.xxh3_128(out.read_bytes()).hexdigest()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_ctrl_c_leaves_nothing(days: Path, tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if "written" in text:
            raise KeyboardInterrupt

    with Store.open(days, Role("analyst", exporting=True)) as opened, pytest.raises(KeyboardInterrupt):
        write_standard(opened, "prov", tmp_path / "x", "export prov x", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_a_sentence(days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "x")
    asked = (out, "--store", str(days), "--role", "analyst")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "openlineage.client.event_v2", None)
        for name in ("openlineage", "facets"):
            patched.delitem(sys.modules, f"streams.queries.standards.{name}", raising=False)
        result = ask("openlineage", *asked)
    assert result.exit_code == 3
    assert "pip install 'sightline[export]'" in result.stderr
    monkeypatch.setattr(limits, "STANDARD_EDGES_MAX", 3)
    result = ask("graphml", *asked)
    assert result.exit_code == 2
    assert "more than 3 edges" in result.stderr
    assert ask("graphml", out, "--store", str(days), "--role", "analyst", "--as-of", "x").exit_code == 2
    assert ask("graphml", str(tmp_path / "no" / "x"), *asked[1:]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_program_exports_what_the_command_does(days: Path, tmp_path: Path) -> None:
    assert ask("prov", str(tmp_path / "x"), "--store", str(days), "--role", "analyst").exit_code == 0
    with open_store(days, role="analyst") as opened:
        exported = opened.export("prov", tmp_path / "y")
        with pytest.raises(InputError, match="expected one of openlineage, prov, graphml"):
            opened.export("prov-n", tmp_path / "z")  # type: ignore[arg-type]
    assert exported.edges == sum(edges_of(DAYS).values())
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    with Store.open(days, Role("analyst")) as asking, pytest.raises(InputError, match="a role that exports"):
        write_standard(asking, "prov", tmp_path / "z", "export prov z", lambda _: None)
    with unfiltered(days) as opened, pytest.raises(InputError, match="without a role"):
        opened.export("prov", tmp_path / "z")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_as_of_a_past_epoch(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    result = ask("graphml", str(out), "--store", str(days), "--role", "analyst", "--as-of", "2", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    edges = edges_of(DAYS[:2])
    assert (told["epoch"], told["edges"]) == (2, sum(edges.values()))
    assert in_graphml(out)[1] == edges
