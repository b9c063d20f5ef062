"""An overdue review warns, is counted and shown, and prevents a start only if the policy says so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner

from streams import clock, metrics
from streams.cli.main import main as sightline
from streams.errors import InputError
from streams.policy.load import load, parse
from streams.policy.source import bundle, find, shipped_names
from streams.policy.versions import CURRENT_KEY, pointer_to, record_of
from streams.sealing.key_store import KeyStore
from streams.topology import POLICIES
from streams.worker import bootstrap
from streams.worker.bootstrap import say_overdue
from streams.worker.follower import OnRecord
from streams.worker.run import WorkerContext, WorkerSettings

DUE = date(2027, 6, 30)
DATES = [DUE, DUE + timedelta(days=1), date(2031, 1, 1)]


def stopping(name: str) -> str:
    text = bundle(find(name))
    assert text.count('when_overdue = "warn"') == 1
    return text.replace('when_overdue = "warn"', 'when_overdue = "stop"')


@pytest.mark.parametrize("today", DATES, ids=str)
@pytest.mark.parametrize("name", shipped_names())
def test_no_shipped_policy_stops_on_a_date(
    name: str, today: date, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})
    policy = load(name, today)
    assert policy.version == load(name).version
    with caplog.at_level(logging.WARNING):
        say_overdue(policy, today)
    overdue = today > DUE
    assert metrics.read("declassifiers_overdue_total", declassifier="model-training") == overdue
    owner = policy.declassifiers["model-training"].owner
    assert [record.getMessage() for record in caplog.records] == overdue * [
        f"The declassifier model-training of policy {name} {policy.version}: review was due on 2027-06-30;"
        f" it goes on until its owner {owner} publishes a policy with the next date"
    ]
    assert [name for name, _, _ in metrics.PROCESS.current()] == overdue * ["declassifiers_overdue_total"]


@pytest.mark.parametrize("name", shipped_names())
def test_one_that_says_stop_refuses_a_start_from_the_next_day_on(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(stopping(name), encoding="utf-8")
    assert load(str(path), DUE).declassifiers["model-training"].when_overdue == "stop"
    for today in DATES[1:]:
        with pytest.raises(
            InputError,
            match=r"mine\.toml, line \d+: '2027-06-30' lies in the past, and the declassifier model-training"
            r" stops then: its owner [\w@-]+ reviews it and sets the next date",
        ):
            load(str(path), today)


def test_what_is_in_force_is_decided_by_whatever_the_date() -> None:
    """Neither a running worker nor a replay depends on the date."""
    assert parse(stopping("household"), "glasses.policies").declassifiers["model-training"].overdue(DATES[1])


def test_a_declassifier_that_says_nothing_warns() -> None:
    text = bundle(find("household")).replace('when_overdue = "warn"\n', "")
    assert parse(text, "mine", DATES[1]).declassifiers["model-training"].when_overdue == "warn"


async def test_a_worker_starts_under_what_is_in_force_unless_that_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy file only warns, but the version in force on the topics stops the start."""
    given, in_force = load("household"), parse(stopping("household"), "x")
    keys = [record_of(given), record_of(in_force), (CURRENT_KEY, pointer_to(in_force))]
    records = [SimpleNamespace(offset=at, key=key, value=value) for at, (key, value) in enumerate(keys)]

    async def read_all(_broker: str, _topic: str) -> list[SimpleNamespace]:
        return records

    monkeypatch.setattr(bootstrap, "read_all", read_all)

    async def follow(_context: WorkerContext, topic: str, on_record: OnRecord) -> None:
        for record in records if topic == POLICIES else ():
            await cast("Awaitable[None]", on_record(record))

    async def key_store_of(_broker: str, _directory: Path) -> KeyStore:
        return KeyStore.made(tmp_path / "keys")

    monkeypatch.setattr(bootstrap, "key_store_of", key_store_of)
    monkeypatch.setattr(WorkerContext, "follow", follow)
    for today in DATES:
        monkeypatch.setattr(clock, "date_today", lambda today=today: today)
        context = WorkerContext(WorkerSettings("nowhere:9", "household"))
        with context.closing:
            if today > DUE:
                with pytest.raises(
                    InputError,
                    match=r"^glasses\.policies on nowhere:9, line \d+: '2027-06-30' lies in the past",
                ):
                    await bootstrap.prepare(context)
            else:
                await bootstrap.prepare(context)


@pytest.mark.parametrize(
    ("today", "shown"), [(DUE, False), (DATES[1], True)], ids=["due today", "a day later"]
)
def test_check_shows_it(today: date, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "date_today", lambda: today)
    result = CliRunner().invoke(sightline, ["policy", "check", "household"])
    assert result.exit_code == 0
    assert ("review was due on 2027-06-30" in result.stdout) == shown


@pytest.mark.parametrize(
    ("today", "shown"), [(DUE, False), (DATES[1], True)], ids=["due today", "a day later"]
)
def test_explain_shows_it(today: date, shown: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "date_today", lambda: today)
    result = CliRunner().invoke(
        sightline,
        [
            *("policy", "explain", "training/intent-model/3@glasses.models"),
            *("--role", "privacy-officer", "--store", str(home / "lineage-store")),
        ],
    )
    assert result.exit_code == 0, result.output
    assert ("review was due on 2027-06-30" in result.stdout) == shown
