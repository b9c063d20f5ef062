"""Labels in SQL say what the policy says of them, to who may see what bears them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.policy.label import NATURES, unpack
from streams.policy.load import load
from streams.policy.vocabulary import LISTS
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, event, row, store, tagged

CLINIC = load("clinic")
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every label that two policies give, an event each; and what has none, or that of nobody's policy."""
    rows = [
        event(
            "g1",
            "imu",
            10 * n,
            kind=kind,
            zone=zone,
            label=packed.hex(),
            policy_version=policy.version,
            appended_ns=T0_NS + n * DAY_NS,
            wearer="w1",
        )
        for policy in (HOUSEHOLD, CLINIC)
        for n, ((kind, zone), packed) in enumerate(policy.labels.items(), 0 if policy is HOUSEHOLD else 5000)
    ]
    odd = [
        event("g9", "imu", 0, wearer="w9", **tagged() | {"policy_version": "0" * 16}),
        event("g9", "imu", 10, wearer="w9", **tagged() | {"label": ""}),
    ]
    refused = row("decisions", source="g1", stream="imu", first=7, label="", policy_version=CLINIC.version)
    clinic = {**POLICY, "version": CLINIC.version, "name": CLINIC.name, "text": CLINIC.text}
    return store(
        tmp_path_factory.mktemp("labels") / "s",
        {"policies": [POLICY, clinic], "events": rows[::2], "decisions": [refused]},
        {"events": [*rows[1::2], *odd]},
    )


def test_every_label_is_told_in_the_words_of_its_policy(path: Path) -> None:
    with Store.open(path) as opened:
        found = {
            (row["policy_version"], row["label"]): row for row in opened.sql("FROM labels", 9999).dicts()
        }
    expected = {
        (policy.version, packed.hex()): (policy, packed)
        for policy in (HOUSEHOLD, CLINIC)
        for packed in policy.labels.values()
    }
    unknown = ("0" * 16, tagged()["label"])
    assert found.keys() == {*expected, unknown}
    for key, (policy, packed) in expected.items():
        says, told = policy.vocabulary.says(packed), found[key]
        assert {name: tuple(told[name]) for name in LISTS} == says
        name = policy.vocabulary.retention(packed)
        assert (told["retention"], told["retention_days"]) == (name, policy.vocabulary.retention_days[name])
        assert told["nature"] == NATURES[unpack(packed)["nature"]]
    assert {found[unknown][name] for name in ("categories", "retention", "nature")} == {None}


def test_a_record_is_due_when_the_policy_says_that_it_expires(path: Path) -> None:
    policies = {policy.version: policy for policy in (HOUSEHOLD, CLINIC)}
    with Store.open(path) as opened:
        rows = opened.sql(
            "SELECT v.policy_version, v.label, e.appended_ns, v.due FROM event_records v "
            "JOIN events e ON e.source = v.source AND e.stream = v.stream AND e.first = v.number",
            9999,
        ).dicts()
    assert len(rows) > 200
    for found in rows:
        policy = policies.get(found["policy_version"])
        if policy is None or not found["label"]:
            assert found["due"] is None
            continue
        expires_ns = policy.expires_ns(bytes.fromhex(found["label"]), found["appended_ns"])
        assert abs(found["due"] - datetime.fromtimestamp(expires_ns // 10**9, UTC)) < timedelta(seconds=1)


def test_records_inside_a_run_were_captured_one_after_another(tmp_path: Path) -> None:
    runs = [
        event("g1", "imu", 0, 5, **tagged(), step=3, t_first_ns=T0_NS, t_last_ns=T0_NS + 4000),
        event("g1", "imu", 100, **tagged(), t_first_ns=5, t_last_ns=5),
        # As far apart as numbers go, and a clock that ran back.
        event("g1", "imu", 200, 4096, **tagged(), t_first_ns=0, t_last_ns=2**63 - 1),
        event("g1", "imu", 9000, 3, **tagged(), t_first_ns=2_000_000, t_last_ns=0),
    ]
    with Store.open(store(tmp_path / "s", {"policies": [POLICY], "events": runs})) as opened:
        times = dict(opened.sql("SELECT number, t_ns FROM event_records", 9999).rows)
    assert [times[number] for number in (0, 3, 6, 9, 12)] == [T0_NS + 1000 * n for n in range(5)]
    assert (times[100], times[200], times[200 + 4095]) == (5, 0, 2**63 - 1)
    assert [times[number] for number in (9000, 9001, 9002)] == [2_000_000, 1_000_000, 0]


def test_labels_of_what_is_hidden_are_not_there(path: Path) -> None:
    with Store.open(path, Role.of("wearer:w9")) as opened:
        assert opened.sql("FROM labels").rows == []
    for role in ("analyst", "wearer:w1"):
        with Store.open(path, Role.of(role)) as opened:
            shown = set(opened.sql("SELECT DISTINCT policy_version, label FROM events", 9999).rows)
            assert set(opened.sql("SELECT policy_version, label FROM labels", 9999).rows) == shown
            assert len(shown) > 10
            words = opened.sql(
                "SELECT categories, due FROM labels JOIN event_records USING (policy_version, label)"
            )
            assert all(categories and due for categories, due in words.rows)


def test_a_store_that_goes_on_knows_the_words_of_policies_before(path: Path, tmp_path: Path) -> None:
    """A writer that starts again has the words of policies whose rows have long left its hot file."""
    from streams.snapshots.writer import Writer  # noqa: PLC0415 - this test alone writes beside `store`
    from tests.snapshots.build import tables  # noqa: PLC0415

    made = store(tmp_path / "s", {"policies": [POLICY], "events": [event("g1", "imu", 0, **tagged())]})
    for number in (1, 2):
        writer = Writer.open(made)
        writer.ingest_tables(tables({"events": [event("g1", "imu", number, **tagged())]}), T0_NS)
        writer.publish(T0_NS)
        writer.close()
    with Store.open(made) as opened:
        assert opened.sql("SELECT retention_days, length(purposes) > 0 FROM labels").rows == [(182, True)]
