"""The inventory: flows that nobody declared are all reported, and no other; what has no label comes first."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams import open_store
from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError
from streams.events.extensions import kinds_of
from streams.events.kinds import Kind, Kinds
from streams.events.shipped import SHIPPED
from streams.policy.load import parse
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.queries.declared import SHIPPED_SYSTEM, System, refused
from streams.queries.flows import DataFlow
from streams.queries.inventory import Inventory, inventory
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import MADE_OF, READ_BY, REVISED
from tests.queries.golden import asked
from tests.queries.test_reach import FEW
from tests.queries.undeclared import CLEAN, UNDECLARED, Flow, decided, made, stored
from tests.snapshots.build import HOUSEHOLD, POLICY, edge, event, store, stream

OWNED = parse(
    HOUSEHOLD.text.replace('name = "household"', 'name = "household"\nowner = "dpo@household"').replace(
        'name = "health"', 'name = "health"\nowner = "doctor@household"'
    ),
    "owned",
)


def answered(path: Path, role: str = "", **options: Any) -> Inventory:
    with Store.open(path, Role.of(role) if role else None) as opened:
        return inventory(opened, **options)


def told(flows: Sequence[DataFlow]) -> list[tuple[str, str, str]]:
    return sorted((flow.of, flow.how, flow.to) for flow in flows)


@FEW
@given(chosen=st.sets(st.integers(0, len(UNDECLARED) - 1)))
def test_every_undeclared_flow_is_reported_and_no_other(chosen: set[int]) -> None:
    flows = [UNDECLARED[number] for number in sorted(chosen)]
    with tempfile.TemporaryDirectory() as name:
        path = made(Path(name) / "s", flows)
        for role in ("", "privacy-officer"):
            answer = answered(path, role)
            assert told(answer.undeclared.rows) == sorted(flow.told for flow in flows)
            assert answer.flows_undeclared == len(flows)
            assert all(flow.reason for flow in answer.undeclared)


def test_ten_undeclared_flows_are_ten(tmp_path: Path) -> None:
    assert len(UNDECLARED) == 10
    answer = answered(made(tmp_path / "s", UNDECLARED))
    assert told(answer.undeclared.rows) == sorted(flow.told for flow in UNDECLARED)
    reasons = {(flow.of, flow.to): flow.reason for flow in answer.undeclared}
    assert reasons["gaze", "training-run"] == ("sinks.training-run: may not receive pd:Biometric, local:Gaze")
    assert reasons["imu", "vendor-cloud"] == f"policy household {HOUSEHOLD.version} has no sink vendor-cloud"
    assert str(reasons["imu", "glasses.models"]).endswith("; the zone health only logs")
    assert reasons["imu", "assistant"] == "no stage takes imu into assistant"
    assert reasons["activity", "glasses.answers"] == "no stage writes activity to it"
    assert reasons["voice_query", "partner.feed"] == "no stage writes voice_query to it"
    assert reasons["activity", "glasses.derived"] == "no decision let it into glasses.derived or store"
    assert reasons["gaze", "activity"] == "operator watcher makes no activity of gaze"


@pytest.mark.parametrize("role", ["", "privacy-officer", "analyst", "wearer:w1"])
def test_a_played_journal_has_no_undeclared_flow_and_nothing_without_a_label(spoilt: Path, role: str) -> None:
    answer = answered(spoilt, role)
    assert answer.undeclared.rows == ()
    assert answer.unlabelled.rows == ()
    assert {flow.how for flow in answer.flows} >= {"crosses into", "lies on", "made into"}
    kinds = {row.kind: row for row in answer.kinds}
    assert kinds["imu"].events > 0
    assert kinds["imu"].last_seen
    assert kinds["imu"].nature == "dpv:ObservedPersonalData"
    assert kinds["imu"].sensitivity == "dpv:SensitivePersonalData"
    assert kinds["ppg"].sensitivity == "dpv:SpecialCategoryPersonalData"
    assert kinds["imu"].schema == "glasses.imu.v1"
    columns = {(row.kind, row.column): row.unit for row in answer.columns}
    assert columns["imu", "gyro_x_radps"] == "rad/s"
    assert columns["voice_segment", "words"] == "none"
    assert columns["voice_query", "text"] == ""
    retention = {row.topic: row.retention_days for row in answer.topics}
    assert (retention["glasses.captured"], retention["glasses.lineage"]) == (1, 30)


def test_counts_are_those_of_the_store(spoilt: Path) -> None:
    with open_store(spoilt, role="privacy-officer") as opened:
        answer = opened.inventory()
        passed = opened.sql("SELECT sum(count) FROM decisions WHERE passed").arrow()
        events = opened.sql("SELECT sum(count) FROM events").arrow()
        edges = opened.sql("SELECT sum(child_count) FROM edges").arrow()
        streams = opened.sql("SELECT DISTINCT kind, regexp_replace(stream, '~.*', '') FROM events").arrow()
    flows = [*answer.undeclared, *answer.flows]
    for how, table in (("crosses into", passed), ("lies on", events), ("made into", edges)):
        assert sum(flow.events for flow in flows if flow.how == how) == table.column(0)[0].as_py()
    assert sum(row.events for row in answer.kinds) == events.column(0)[0].as_py()
    assert {(row.kind, row.stream) for row in answer.streams} == {
        tuple(each.values()) for each in streams.to_pylist()
    }


def test_what_a_policy_no_longer_permits_is_former(tmp_path: Path) -> None:
    strict = HOUSEHOLD.text.index('name = "processing"')
    receives = HOUSEHOLD.text.index('receives = ["*"]', strict)
    text = HOUSEHOLD.text[:receives] + HOUSEHOLD.text[receives:].replace('["*"]', '["pd:Opinion"]', 1)
    draft = parse(text, "draft")
    path = made(tmp_path / "s", UNDECLARED[:1])
    now, then = answered(path), answered(path, draft=draft)
    assert (now.flows_former, then.flows_former) == (0, 1)
    former = [flow for flow in then.flows if flow.standing == "former"]
    assert told(former) == [("imu", "crosses into", "processing")]
    assert former[0].reason == "sinks.processing: may not receive pd:Behavioral, local:Gait"
    assert told(then.undeclared.rows) == [UNDECLARED[0].told], "whoever permits it now, nobody did then"


@pytest.mark.parametrize("role", ["", "privacy-officer"])
def test_the_past_is_told_as_it_was(tmp_path: Path, role: str) -> None:
    flows = [flow for flow in UNDECLARED if flow.rows]
    later = {table: [each for flow in flows for each in flow.rows.get(table, ())] for table in CLEAN}
    path = store(tmp_path / "s", CLEAN, later)
    for epoch, expected in ((1, []), (2, sorted(flow.told for flow in flows))):
        with Store.open(path, Role.of(role) if role else None) as opened:
            opened.look_back(epoch)
            assert told(inventory(opened).undeclared.rows) == expected


def test_a_derived_stream_without_a_row_is_of_the_kind_in_its_name(tmp_path: Path) -> None:
    """As where the store refused all that an operator made, and the topic did not."""
    speech = decided("speech", "public", "glasses.derived", stream="speech-left~2")
    answer = answered(made(tmp_path / "s", [Flow(("", "", ""), {"decisions": [speech]})]))
    assert answer.undeclared.rows == ()
    assert ("speech", "crosses into", "glasses.derived") in told(
        [flow for flow in answer.flows if flow.standing == "declared"]
    )


def test_a_declared_flow_is_unobserved_until_it_is_seen(tmp_path: Path) -> None:
    def zones(path: Path, standing: str) -> set[str]:
        flows = answered(path).flows
        mine = [
            flow
            for flow in flows
            if (flow.of, flow.to) == ("gaze", "processing") and flow.standing == standing
        ]
        return {zone for flow in mine for zone in flow.zones}

    seen = Flow(
        ("gaze", "crosses into", "processing"), {"decisions": [decided("gaze", "health", "processing")]}
    )
    before, after = made(tmp_path / "a", ()), made(tmp_path / "b", [seen])
    everywhere = {"health", "child-near", "bystander-present", "home-private", "public"}
    assert (zones(before, "unobserved"), zones(before, "declared")) == (everywhere, set())
    assert (zones(after, "unobserved"), zones(after, "declared")) == (everywhere - {"health"}, {"health"})


def test_a_role_is_told_what_it_cannot_know(tmp_path: Path) -> None:
    seen = Flow(
        ("imu", "crosses into", "processing"), {"decisions": [decided("imu", "health", "processing")]}
    )
    path = made(tmp_path / "s", [seen, UNDECLARED[-1]])
    officer, analyst = answered(path, "privacy-officer"), answered(path, "analyst")
    assert (officer.flows_hidden, officer.reads_are_known, analyst.reads_are_known) == (0, True, False)
    hidden = {(flow.of, flow.to): set(flow.zones) for flow in analyst.flows if flow.standing == "hidden"}
    assert hidden["imu", "processing"] == {"health", "child-near", "bystander-present"}
    assert all("health" not in flow.zones for flow in analyst.flows if flow.standing != "hidden")
    assert analyst.undeclared.rows == (), "who read what is for the privacy officer"
    sizes = {row.file: row.bytes for row in officer.files}
    assert sizes["hot.duckdb"] == (path / "hot.duckdb").stat().st_size
    assert not any(row.bytes for row in analyst.files)
    rows = {row.table: row.rows for row in officer.tables}
    assert rows["decisions"] == 11
    assert not any(row.rows for row in analyst.tables)


def test_what_has_no_label_is_said(tmp_path: Path) -> None:
    skin = Kind(
        "skin", captured=True, columns={"warmth": "number", "contact": "number"}, unitless=("contact",)
    )
    bare = HOUSEHOLD.text.replace('env = { categories = ["local:AmbientScene"]', "env = { categories = []")
    rows = {
        **CLEAN,
        "streams": [*CLEAN["streams"], stream("g1", "odd", "odd")],
        "events": [*CLEAN["events"], event("g1", "odd", 0, 3, kind="odd", zone="", topic="glasses.captured")],
    }
    system = System(Kinds.of(*SHIPPED.values(), skin))
    answer = answered(store(tmp_path / "s", rows), draft=parse(bare, "bare"), system=system)
    assert {(each.thing, each.name) for each in answer.unlabelled} == {
        ("column", "skin.warmth"),
        ("kind", "env"),
        ("kind", "odd"),
        ("kind", "skin"),
        ("stream", "odd"),
    }
    assert answer.things_unlabelled == 5
    assert answer.streams.rows[0].stream == "odd", "what has no label comes first"
    assert told(answer.undeclared.rows) == [("odd", "lies on", "glasses.captured")]


def test_owners_are_those_that_the_policy_names(tmp_path: Path) -> None:
    path = made(tmp_path / "s", ())
    nobody, owned = answered(path), answered(path, draft=OWNED)
    assert {row.owner for row in (*nobody.zones, *nobody.kinds)} == {"nobody named"}
    assert (nobody.owner, owned.owner) == ("nobody named", "dpo@household")
    assert {row.zone: row.owner for row in owned.zones} == {
        zone: "doctor@household" if zone == "health" else "dpo@household" for zone in HOUSEHOLD.zones_by_name
    }


def test_what_an_extension_makes_is_declared_once_it_is_named(tmp_path: Path) -> None:
    ours = "imu = { categories"
    own = '{ categories = ["pd:PhysicalHealth"], nature = "observed" }'
    text = HOUSEHOLD.text.replace(ours, f"temple = {own}\nwarmth = {own}\n{ours}")
    system = System.extended(["tests.extensions.temple"])
    policy = parse(text, "temple", kinds=system.kinds)
    joined = policy.inherited_label("warmth", (policy.label_of("temple", "public") or b"",)).hex()
    rows = {
        "policies": [POLICY | {"version": policy.version, "text": policy.text}],
        "streams": [stream("g1", "temple", "temple"), stream("g1", "warmth", "warmth", captured=False)],
        "events": [
            stored("temple", "public", "glasses.captured", policy),
            stored("warmth", "public", "glasses.derived", policy) | {"label": joined},
        ],
        "decisions": [
            *(decided("temple", "public", sink, policy) for sink in ("glasses.zoned", "store", "processing")),
            *(
                decided("warmth", "public", sink, policy, label=joined)
                for sink in ("glasses.derived", "store")
            ),
        ],
        "edges": [
            edge(("g1", "warmth", 0), ("g1", "temple", 0), operator="warmth"),
        ],
    }
    path = store(tmp_path / "s", rows)
    bare, loaded = answered(path), answered(path, system=system)
    assert (bare.undeclared.rows, loaded.undeclared.rows) == ((), ())
    assert {each.name for each in bare.unlabelled} == {"temple", "warmth"}
    assert loaded.unlabelled.rows == ()
    assert ("temple", "made into", "warmth") in told([f for f in loaded.flows if f.standing == "declared"])
    with pytest.raises(InputError, match="OPERATORS holds a str, expected nothing but"):
        System.extended(["tests.queries.no_operators"])
    wrong = {**rows, "edges": [edge(("g1", "temple", 1), ("g1", "warmth", 0), operator="warmth")]}
    assert told(answered(store(tmp_path / "w", wrong), system=system).undeclared.rows) == [
        ("warmth", "made into", "temple")
    ]


def test_training_takes_what_permits_all_that_the_model_serves() -> None:
    """As its gate does: an example that permits training alone is not declared to go there."""
    served = HOUSEHOLD.text.replace(
        'served_purposes = ["dpv:RequestedServiceProvision"]',
        'served_purposes = ["dpv:ServicePersonalisation"]',
    )
    public = served.index('name = "public"')
    less = served[:public] + served[public:].replace('"dpv:ServicePersonalisation", ', "", 1)
    for text, reason in ((served, ""), (less, "gate: the example does not permit what the model serves")):
        policy = parse(text, "served")
        label = policy.inherited_label("example", (policy.label_of("voice_query", "public") or b"",))
        assert refused(policy, "public", label, "training-run") == reason


def test_the_topology_says_what_the_operators_read() -> None:
    assert {name: operator.reads for name, operator in SHIPPED_OPERATORS.items()} == READ_BY
    assert {name for name, operator in SHIPPED_OPERATORS.items() if operator.revises} == REVISED
    cited = {operator.name for operator in SHIPPED_OPERATORS.values() if operator.cites}
    assert cited == set(MADE_OF["situation"][1]) - {"voice_query"}
    assert SHIPPED_SYSTEM.kinds == kinds_of(())


def test_a_digest_is_that_of_the_columns() -> None:
    kind = Kind("skin", captured=True, columns={"skin_c": "number"})
    same = Kind("skin", captured=True, columns={"skin_c": "number"}, says={"about": "Warmth."})
    others = (
        Kind("skin", captured=True, columns={"skin_c": "number?"}),
        Kind("skin", captured=True, columns={"skin_c": "number"}, wire={"skin_c": "f4"}),
        Kind("skin", captured=False, columns={"skin_c": "number"}),
        Kind("skins", captured=True, columns={"skin_c": "number"}),
    )
    assert same.schema_digest == kind.schema_digest
    assert len({kind.schema_digest, *(other.schema_digest for other in others)}) == 5
    with pytest.raises(InputError, match="'skin_d' among what has no unit"):
        Kind("skin", captured=True, columns={"skin_c": "number"}, unitless=("skin_d",))


def test_the_command_says_what_is_undeclared_first(tmp_path: Path) -> None:
    path = made(tmp_path / "s", UNDECLARED)
    plain = asked(path, "inventory", "--policy", "household")
    assert [each["standing"] for each in plain["undeclared"]] == ["undeclared"] * 10
    assert plain["flows_undeclared"] == 10
    words = ["inventory", "--store", str(path), "--role", "privacy-officer"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0
    headings = [
        line for line in shown.stdout.splitlines() if line and line == line.lower() and " " not in line
    ]
    assert headings[:3] == ["undeclared", "unlabelled", "flows"]
    assert '"question":"inventory --policy household"' in (path / AUDIT_LOG).read_text(encoding="utf-8")
