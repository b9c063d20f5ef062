"""When a wearer was at a place is told to whom it may be told, and is what an erasure then takes."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

import pytest

from streams import clock, limits
from streams.cli.rights.scope import Looked, asked_scope
from streams.consent.erased import ErasedPlace, ErasedTime
from streams.errors import InputError
from streams.limits import TIME_NS_MAX
from streams.policy.attributes import Attributes
from streams.queries.reads import reads
from streams.queries.role import Role
from streams.queries.stays import rows_in, stays_of, stays_of_all
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from streams.topology import TO_WEARER, ZONED
from tests.snapshots import days
from tests.snapshots.build import POLICY, T0_NS, Row, batch, record, row, stream, tagged
from tests.snapshots.contents import ask
from tests.snapshots.homes import of_home
from tests.snapshots.worlds import HER, SECOND_NS, World, filled, mark

OFFICER = Role("privacy-officer", exporting=True, into=TO_WEARER)
HOME = ErasedPlace("home", ErasedTime(0, TIME_NS_MAX))
#: Long after everything.
LATER_NS = T0_NS + 10**6 * SECOND_NS
AT_HOME = (*range(3, 9), 14, 15)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(2, fetches=16, home=AT_HOME)
    return filled(tmp_path_factory.mktemp("stays") / "store", world.lineage(with_her=True), every=3)


def _expected(path: Path) -> list[tuple[int, int]]:
    """Her fetches in order of time, as long as one after another is at home."""
    rows = ask(path, f"SELECT DISTINCT t_first_ns FROM events WHERE wearer = '{HER}' AND kind = 'imu'")
    times = sorted(t_ns for (t_ns,) in rows)
    stays = []
    for at_home, some in groupby(times, lambda t_ns: (t_ns - T0_NS) // SECOND_NS in AT_HOME):
        if at_home:
            stay = list(some)
            stays.append((stay[0], stay[-1]))
    return stays


def test_stays_are_those_of_her_fetches_and_the_rows_are_what_an_erasure_takes(tmp_path: Path) -> None:
    world = World(2, fetches=16, home=AT_HOME)
    store = filled(tmp_path / "store", world.lineage(with_her=True), every=3)
    with Store.open(store, OFFICER) as opened:
        times = stays_of(opened, HER, HOME, LATER_NS)
        rows = rows_in(opened, HER, times)
    assert list(times) == _expected(store)
    assert len(times) > 1
    before = {table: ask(store, f"SELECT count(*) FROM {table}") for table in ("events", "decisions")}
    writer = Writer.open(store, fold="inline")
    writer.erase([of_home(LATER_NS, times)], mark, LATER_NS)
    writer.close()
    assert ask(store, "SELECT rows FROM erasures") == [(sum(rows.values()),)]
    for table in ("events", "decisions"):
        [(left,)], [(all_,)] = ask(store, f"SELECT count(*) FROM {table}"), before[table]
        assert all_ - left == rows[table], table


def test_a_place_where_she_never_was_is_refused_with_those_where_she_was(path: Path) -> None:
    with Store.open(path, OFFICER) as opened:
        with pytest.raises(InputError, match="no stay of canarywearer there, expected one of home, street;"):
            stays_of(opened, HER, HOME._replace(place="clinic"), LATER_NS)
        early = HOME._replace(time=ErasedTime(0, T0_NS - 1))
        with pytest.raises(InputError, match="no stay of canarywearer there in that time, expected"):
            stays_of(opened, HER, early, LATER_NS)
        with pytest.raises(InputError, match="nothing of this wearer is stored"):
            stays_of(opened, "nobody", HOME, LATER_NS)


def test_where_she_was_is_not_told_any_more_when_that_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while its rows are in the files still, as they are until the next day of the broker."""
    times = dict.fromkeys(("appended_ns", "t_first_ns", "t_last_ns"), T0_NS)
    events, decisions = list[Row](), list[Row]()
    for number, (place, zone) in enumerate((("home", "bystander-present"), ("street", "public"))):
        kept = {**tagged(zone=zone), "wearer": HER}
        events.append(batch("g1", "imu-right", number, **kept, **times))
        judged = {name: value for name, value in kept.items() if name != "kind"}
        said = Attributes("imu", "imu-right", place, "nobody", False, False, True, True).text()
        run: Row = {"source": "g1", "stream": "imu-right", "first": number, "appended_ns": T0_NS}
        how = {"sink": ZONED, "verdict": "allow", "mode": "enforcing", "at_ns": 0, "attributes": said}
        decisions.append(row("decisions", **run, **how, **judged))
    begun = {"policies": [POLICY], "streams": [stream("g1", "imu-right")]}
    first = record(0, {**begun, "events": events, "decisions": decisions})
    path, real_ns = tmp_path / "store", clock.now_ns
    # As far as the writer knows the day has not ended; a reader's clock is a day ahead of it.
    for behind_ns, at_home in ((days.DAY_NS // 2, True), (days.DAY_NS, False)):
        monkeypatch.setattr(clock, "now_ns", lambda behind_ns=behind_ns: real_ns() - behind_ns)
        days.filled(path, [days.appended(first, 0), days.appended(record(1, {}), 0.01)])
        monkeypatch.setattr(clock, "now_ns", real_ns)
        assert ask(path, "SELECT count(*) FROM files.decisions") == [(2,)]
        with Store.open(path, OFFICER) as opened:
            assert len(stays_of(opened, HER, HOME._replace(place="street"), LATER_NS)) == 1
            found = stays_of_all(opened, HOME, LATER_NS)
            assert found == ({HER: (ErasedTime(T0_NS, T0_NS),)} if at_home else {})
            if not at_home:
                with pytest.raises(
                    InputError, match="no stay of canarywearer there, expected one of street;"
                ):
                    stays_of(opened, HER, HOME, LATER_NS)
        shutil.rmtree(path)


@pytest.mark.parametrize("role", [Role("analyst"), Role("wearer", wearer="w1")])
def test_it_is_told_to_nobody_else(path: Path, role: Role) -> None:
    with Store.open(path, role) as opened, pytest.raises(InputError, match="may not ask"):
        stays_of(opened, HER, HOME, LATER_NS)


@pytest.mark.parametrize(("low", "high"), [(0, 99), (4, 8), (9, 13)])
def test_everybody_who_was_there_then_is_found_with_what_is_of_that_time(
    path: Path, low: int, high: int
) -> None:
    """Others are at home all the time, so each has one stay, from the first fetch to the last."""
    within = ErasedTime(T0_NS + low * SECOND_NS, T0_NS + high * SECOND_NS)
    rows = ask(path, "SELECT DISTINCT wearer, t_first_ns FROM events WHERE kind = 'imu'")
    expected: dict[str, list[tuple[int, int]]] = {}
    for wearer in {wearer for wearer, _ in rows}:
        times = sorted(t_ns for name, t_ns in rows if name == wearer)
        stays = _expected(path) if wearer == HER else [(times[0], times[-1])]
        cut = [(max(first, within[0]), min(last, within[1])) for first, last in stays]
        if some := [stay for stay in cut if stay[0] <= stay[1]]:
            expected[wearer] = some
    assert len(expected) > 1
    with Store.open(path, OFFICER) as opened:
        found = stays_of_all(opened, HOME._replace(time=within), LATER_NS)
    assert {wearer: [tuple(each) for each in times] for wearer, times in found.items()} == expected
    with Store.open(path, OFFICER) as opened:
        assert stays_of_all(opened, HOME._replace(place="clinic"), LATER_NS) == {}


@pytest.mark.parametrize("role", [Role("analyst"), Role("wearer", wearer=HER)])
def test_who_was_there_is_told_to_the_privacy_officer_alone(path: Path, role: Role) -> None:
    with Store.open(path, role) as opened, pytest.raises(InputError, match="may not ask who was at a place"):
        stays_of_all(opened, HOME, LATER_NS)


def test_more_stays_than_a_statement_holds_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ERASED_SPANS_MAX", len(_expected(path)) - 1)
    with (
        Store.open(path, OFFICER) as opened,
        pytest.raises(InputError, match="place home from TIME until TIME"),
    ):
        stays_of(opened, HER, HOME, LATER_NS)


def test_who_is_there_now_stays_until_the_erasure_and_who_was_long_ago_does_not(path: Path) -> None:
    [*_, (_, last_ns)] = _expected(path)
    for later_s, until_ns in ((limits.ERASED_STAY_S, TIME_NS_MAX), (limits.ERASED_STAY_S + 1, last_ns)):
        with Store.open(path, OFFICER) as opened:
            times = stays_of(opened, HER, HOME, last_ns + later_s * SECOND_NS)
        assert times[-1].until_ns == until_ns


def test_that_somebody_looked_is_on_record(path: Path) -> None:
    question = {"--wearer": HER, "--scope": '"place home"', "--dry-run": True}
    looked = Looked((path,), Role("privacy-officer"), HER, asked_scope("place home"), question)
    assert [tuple(each) for each in looked.scope.spans] == _expected(path)
    assert looked.rows["events"] > 0
    with Store.open(path) as opened:
        read, *_ = reads(opened).latest
    assert read.question == f'rights erase --wearer {HER} --scope "place home" --dry-run'
