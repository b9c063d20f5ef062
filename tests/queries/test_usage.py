"""Answers and what was said of them, counted in SQL as in the records that the pipeline wrote."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import duckdb
import orjson
import pytest

from streams.errors import InputError
from streams.evaluation.household import Household
from streams.events.record import Outgoing
from streams.feedback.forms import DENIED
from streams.queries.role import Role
from streams.queries.store import Store
from streams.queries.usage import UsageBy, usage
from streams.replay.stored import stored
from streams.topology import ANSWERS, EXAMPLES, REJECTED
from tests import build
from tests.evaluation.test_measure import small
from tests.snapshots.build import T0_NS

Counted = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outgoing]]:
    """A store of a household's evening, and all records that the pipeline wrote."""
    path, written = tmp_path_factory.mktemp("usage") / "s", list[Outgoing]()
    with stored(path) as sink:

        def write(records: Sequence[Outgoing]) -> None:
            written.extend(records)
            sink.write(records)

        build.run(Household(small(1, 240), build.policy(), 24, write=write).live())
        sink.flush()
        sink.writer.settle(T0_NS)
    return path, written


def expected(written: Sequence[Outgoing], by: UsageBy) -> Counted:
    """Counts from the records: an answer's own columns, an example's, and the rule of what made none."""
    counted: Counted = {}
    answers: dict[tuple[str, int], dict[str, Any]] = {}

    def count(of: dict[str, Any], zone: str, t_ns: int, name: str, version: int) -> None:
        day = datetime.fromtimestamp(t_ns // 10**9, UTC).date().isoformat()
        key = {"version": str(version), "zone": zone, "wearer": of["wearer_id"], "day": day}[by]
        counted.setdefault(key, Counter())[name] += 1

    for record in written:
        headers = {name: value.decode() for name, value in record.headers}
        if record.topic == ANSWERS:
            of = orjson.loads(record.value or b"")
            version = of["columns"]["model_version"][0]
            answers[of["device_id"], of["first"]] = of
            count(of, headers["sightline-zone"], of["t0_ns"], "answers", version)
        if record.topic == EXAMPLES:
            of = orjson.loads(record.value or b"")
            columns = of["columns"]
            name = "confirmed" if columns["intent"] == columns["answered_intent"] else "corrected"
            count(of, headers["sightline-zone"], of["t0_ns"], name, columns["model_version"][0])
    return counted


@pytest.mark.parametrize("by", get_args(UsageBy))
def test_it_counts_what_the_records_say(lived: tuple[Path, list[Outgoing]], by: UsageBy) -> None:
    path, written = lived
    with Store.open(path) as store:
        made = usage(store, by)
    wanted = expected(written, by)
    assert {row.of for row in made.usage} == set(wanted)
    for row in made.usage:
        own = wanted[row.of]
        assert (row.answers, row.confirmed, row.corrected) == (
            own["answers"],
            own["confirmed"],
            own["corrected"],
        ), row.of
        judged = row.confirmed + row.corrected + row.denied
        assert row.right_percent == (round(100 * row.confirmed / judged, 1) if judged else None)
    assert sum(row.answers for row in made.usage) == 240
    rules = Counter(
        dict(record.headers)["sightline-rule"].decode() for record in written if record.topic == REJECTED
    )
    assert sum(row.denied for row in made.usage) == sum(rules[rule] for rule in DENIED) > 0
    assert sum(row.unclear for row in made.usage) == sum(rules.values()) - sum(rules[rule] for rule in DENIED)


def test_a_role_counts_what_it_may_see(lived: tuple[Path, list[Outgoing]]) -> None:
    path, written = lived
    with Store.open(path, Role.of("wearer:w2")) as store:
        mine = usage(store, "wearer")
    assert [row.of for row in mine.usage] == ["w2"]
    with Store.open(path, Role.of("analyst")) as store:
        analyst = usage(store, "wearer")
    with Store.open(path, Role.of("privacy-officer")) as store:
        every = usage(store, "wearer")
    assert analyst.usage == every.usage, "at home nothing of it is hidden from an analyst"
    assert sum(row.feedback for row in analyst.usage) > 0
    assert list(mine.usage) == [row for row in every.usage if row.of == "w2"]
    assert next(iter(mine.usage)).answers == expected(written, "wearer")["w2"]["answers"]


def test_versions_are_in_their_order_and_a_wrong_word_is_told(lived: tuple[Path, list[Outgoing]]) -> None:
    with Store.open(lived[0]) as store:
        numbers = [int(row.of) for row in usage(store).usage]
        assert numbers == sorted(numbers)
        assert len(numbers) > 2
        with pytest.raises(InputError, match="found 'month', expected one of version, zone, wearer, day"):
            usage(store, "month")  # type: ignore[arg-type]


def test_a_store_of_before_has_the_answers_alone(lived: tuple[Path, list[Outgoing]], tmp_path: Path) -> None:
    path = tmp_path / "s"
    shutil.copytree(lived[0], path, symlinks=True)
    catalog = (path / "catalog.duckdb").resolve()
    catalog.chmod(0o600)
    with duckdb.connect(str(catalog)) as connection:
        connection.execute("DROP VIEW feedback")
        connection.execute("DROP VIEW files.feedback")
    with Store.open(path) as store:
        made = usage(store, "zone")
    assert not made.recorded
    assert [(row.feedback, row.right_percent) for row in made.usage] == [(0, None)] * len(made.usage)
    assert sum(row.answers for row in made.usage) == 240


def test_each_column_alone_is_under_a_role_what_it_is_without_one(lived: tuple[Path, list[Outgoing]]) -> None:
    """What a view computes of columns that the statement does not name is there as well."""
    names = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND schema_name = "
    with Store.open(lived[0]) as every:
        kept = {*every.sql(f"{names}'files'").rows}
        views = every.sql("SELECT view_name FROM duckdb_views() WHERE schema_name = 'main'").rows
        ours = every.sql(f"{names}'main' ORDER BY ALL").rows
        # What is over at the moment is another time at the next look.
        clocks = ("over_classes", "over_ns")
        computed = [of for of in ours if of not in kept and (of[0],) in views and of != clocks]
        differing = []
        for table, name in computed:
            alone = f'SELECT DISTINCT "{name}" FROM {table} ORDER BY 1'
            # Opened anew, because columns that were loaded for one statement are there for the next.
            with Store.open(lived[0], Role.of("privacy-officer")) as store:
                if store.sql(alone).rows != every.sql(alone).rows:
                    differing.append(f"{table}.{name}")
    some = {("training_checks", "percent"), ("feedback", "answer_id"), ("edge_records", "parent_id")}
    assert some <= {*computed}
    assert differing == []
