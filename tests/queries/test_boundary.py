"""The boundary of a role: of two stores that differ only in what is hidden, every statement says the same.

Rows, errors, the record of reads. Statements are drawn: a condition that hidden rows alone meet, and behind
it something that fails on a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams import limits
from streams.audit_log import AUDIT_LOG
from streams.errors import InputError
from streams.policy.vocabulary import LISTS
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.pair import pair_of


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair_of(tmp_path_factory.mktemp("pair"))


#: What throws on some value of a text `{s}` or a number `{n}`, each by a function or operator of its own.
THROWING = (
    *(
        f"CAST({{s}} AS {kind})"
        for kind in (
            "INTEGER",
            "HUGEINT",
            "UTINYINT",
            "DOUBLE",
            "DECIMAL(3,1)",
            "BOOLEAN",
            "DATE",
            "TIME",
            "TIMESTAMP",
            "TIMESTAMPTZ",
            "INTERVAL",
            "UUID",
            "BIT",
            "BLOB",
            "JSON",
            "ENUM('a','b')",
            "INTEGER[]",
            "STRUCT(a INTEGER)",
            "MAP(INTEGER, INTEGER)",
        )
    ),
    "CAST({n} AS TINYINT)",
    "CAST(-{n} - 1 AS UBIGINT)",
    "CAST({n} AS DECIMAL(3,2))",
    "{s} LIKE 'a' ESCAPE {s}",
    "{s} ILIKE 'a' ESCAPE {s}",
    "{s} NOT LIKE 'a' ESCAPE {s}",
    "regexp_matches('a', {s} || '(')",
    "regexp_full_match('a', {s} || '[')",
    "regexp_extract('a', {s} || '(')",
    "regexp_extract_all('a', {s} || '(')",
    "regexp_replace('a', {s} || '(', '')",
    "regexp_split_to_array('a', {s} || '(')",
    "strptime({s}, '%Y-%m-%d')",
    "strptime('2020', {s})",
    "strftime(TIMESTAMP '2020-01-01', {s} || '%')",
    "date_trunc({s}, TIMESTAMP '2020-01-01')",
    "date_part({s}, TIMESTAMP '2020-01-01')",
    "date_diff({s}, TIMESTAMP '2020-01-01', TIMESTAMP '2021-01-01')",
    "timezone({s}, TIMESTAMP '2020-01-01')",
    "TIMESTAMP '2020-01-01' + to_years(CAST({n} + 300000 AS INTEGER))",
    "make_date({n} + 2020, 13, 1)",
    "make_timestamp({n}, 13, 1, 1, 1, 1.0)",
    "to_timestamp({n} + 1e18)",
    "json({s})",
    "json_extract('{{}}', '$' || {s})",
    "json_array_length({s})",
    "from_json({s}, '\"INTEGER\"')",
    "factorial(CAST({n} + 100 AS INTEGER))",
    "sqrt(-{n} - 1)",
    "ln(-{n})",
    "log10(-{n})",
    "gamma(-{n})",
    "({n} + 2) * 9223372036854775807",
    "9223372036854775807 + {n} + 1",
    "abs(-9223372036854775807 - {n} - 1)",
    "({n} + 1) << 70",
    "chr(CAST({n} + 99999999 AS INTEGER))",
    "unhex({s})",
    "unbin({s})",
    "from_base64({s} || '=')",
    "to_base({n}, 1)",
    "bitstring({s}, 1)",
    "get_bit('01'::BIT, CAST({n} + 5 AS INTEGER))",
    "hamming({s}, 'a')",
    "jaccard({s}, '')",
    "format('{{:d}}', {s})",
    "printf({s} || '%d', 'x')",
    "lpad({s}, 50, '')",
    "error({s})",
    "map([{s}, {s}], [1, 2])",
    "list_resize([1], {n} - 9)",
    "list_aggregate([1, 2], {s})",
    "list_cosine_similarity([1.0], range({n} % 7 + 2)::DOUBLE[])",
    "array_slice([1, 2, 3], 1, 3, {n} - {n})",
    "struct_extract(ROW({s}), {n} + 9)",
    "url_decode({s} || '%ff')",
    "decode('\\xff'::BLOB || encode({s}))",
    "(SELECT i FROM range({n} % 7 + 2) r(i))",
    "time_bucket(to_days(CAST({n} - {n} AS INTEGER)), DATE '2020-01-01')",
    "repeat({s}, 9000000000)",
)
#: Views with a text and a number of theirs.
VIEWS = {
    "events": (
        ("zone", "wearer", "rule", "stream", "label", "session"),
        ('"first"', '"count"', "t_first_ns"),
    ),
    "event_records": (("zone", "wearer", "id"), ("number", "t_ns", "epoch_ns(due)")),
    "edges": (("child_stream", "parent_source"), ("child_first", "parent_first", "parent_width")),
    "edge_records": (("child_id", "parent_id"), ("child_number", "parent_number")),
    "decisions": (("zone", "attributes", "verdict", "wearer", "id"), ('"first"', "consent")),
    "rejected": (("zone", "reason", "wearer"), ('"first"',)),
    "streams": (("source", "stream", "kind"), ("epoch",)),
    "models": (("zone", "digest"), ("version", "examples")),
    "zone_runs": (("zone", "wearer"), ("low", "high")),
    "epochs": (("epoch::VARCHAR",), ("epoch", "rows")),
    "segments": (("file", "table_name"), ("rows", "bytes")),
    "spans": (("source", "stream"), ("lowest", "highest")),
    "classes": (("zone", "label"), ("class",)),
    "shadow": (("zone", "next_rule"), ('"first"',)),
    "inputs": (("value",), ('"offset"',)),
    "policies": (("version",), ("epoch",)),
    "labels": (("label", "policy_version", "retention"), ("retention_days", "length(categories)")),
    "vocabularies": (("policy_version",), ("length(categories)",)),
    "io_coverage": (("operation", "done_by"), ("sites",)),
    "io_counts": (("counted", "counted_key"), ("observed", "epoch")),
    "duckdb_views()": (("view_name", "sql"), ("column_count", "view_oid")),
    "duckdb_tables()": (("table_name", "sql"), ("estimated_size", "index_count")),
    "duckdb_columns()": (("table_name", "column_name"), ("column_index",)),
}
CONDITIONS = (
    "true",
    "{s} = 'health'",
    "{s} IN ('w2', 'g2', 'ppg', 'secret', 'g1/ppg/3')",
    "{s} LIKE 'h%'",
    "{n} BETWEEN 100 AND 149",
    "{n} > 1000",
    "length({s}) > 12",
)
SHAPES = (
    "SELECT count(*) FROM {v} WHERE CASE WHEN {c} THEN ({e}) IS NOT NULL ELSE true END",
    "SELECT {e} FROM {v} WHERE {c} ORDER BY ALL",
    "SELECT {s}, count(*) FROM {v} GROUP BY ALL ORDER BY ALL",
    "SELECT max({n}), min({s}), count({e}) FROM {v} WHERE {c}",
    "SELECT count(*) FROM {v} WHERE TRY({e}) IS NULL AND {c}",
    "SELECT sum(length(CAST(({e}) AS VARCHAR))) OVER (ORDER BY {s}, {n}) FROM {v} WHERE {c} ORDER BY ALL",
    "SELECT (SELECT count(*) FROM {v} WHERE {c} AND ({e}) IS NULL) FROM range(2)",
    "WITH a AS (SELECT {s} AS s, {n} AS n FROM {v}) SELECT count(*) FROM a JOIN a b USING (s, n)",
    "SELECT {s} FROM {v} ORDER BY {s}, ({e}) IS NULL LIMIT 1",
    "SELECT current_setting('allowed_paths'), {s} FROM {v} ORDER BY ALL LIMIT 1",
    "SELECT {s} FROM {v} UNION ALL SELECT CAST({e} AS VARCHAR) FROM {v} WHERE {c} ORDER BY ALL",
    "SELECT approx_count_distinct({s}), stats({s}) FROM {v} WHERE {c} GROUP BY 2 ORDER BY ALL",
    "SELECT approx_count_distinct({s}), max(rowid) FROM {v} WHERE {c}",
    "SELECT column_name, max, min, count FROM (SUMMARIZE SELECT {n} FROM {v})",
    "SELECT list({s} ORDER BY {s}) FROM {v} v, LATERAL (SELECT ({e}) AS x) WHERE {c}",
)


@pytest.fixture(scope="module")
def opened(pair: tuple[Path, Path]) -> Iterator[dict[str, tuple[Store, Store]]]:
    """Both stores as each role sees them: opening them anew for each statement takes its time."""
    with ExitStack() as stack:
        one, other = (
            {role: stack.enter_context(Store.open(path, Role.of(role))) for role in ("analyst", "wearer:w1")}
            for path in pair
        )
        yield {role: (one[role], other[role]) for role in one}


def said(opened: Store, text: str) -> tuple[Any, list[Any], dict[str, str]]:
    """What a statement says: rows or a sentence; what was recorded of it; what is hidden."""
    log = opened.parts[0].directory / AUDIT_LOG
    log.unlink(missing_ok=True)
    answer: Any
    try:
        found = opened.sql(text, 50)
        answer = (found.columns, repr(found.rows), found.more)
    except InputError as error:
        answer = str(error)
    records = log.read_text().splitlines() if log.exists() else []
    return answer, [{**json.loads(line), "t": ""} for line in records], opened.hidden


def told_apart(stores: tuple[Store, Store], text: str) -> bool:
    (one, recorded, bands), (other, also, none) = (said(store, text) for store in stores)
    assert none == {}
    assert set(bands.values()) <= {"1-9", "10-99", "100+"}
    # A time of publication is not a row.
    return (blank(one), recorded) != (blank(other), also)


def blank(answer: Any) -> str:
    return re.sub(r"datetime\.datetime\([^()]*\)|1[5-9]\d{17}", "T", repr(answer))


@st.composite
def statements(draw: st.DrawFn) -> str:
    view = draw(st.sampled_from(sorted(VIEWS)))
    texts, numbers = VIEWS[view]
    columns = {"s": draw(st.sampled_from(texts)), "n": draw(st.sampled_from(numbers))}
    failing = draw(st.sampled_from(THROWING)).format(**columns)
    condition = draw(st.sampled_from(CONDITIONS)).format(**columns)
    return draw(st.sampled_from(SHAPES)).format(v=view, c=condition, e=failing, **columns)


ORACLE = (
    "SELECT count(*) FROM events WHERE CASE WHEN zone='health' AND wearer='w2' "
    "THEN zone LIKE 'a' ESCAPE zone ELSE true END"
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=statements(), role=st.sampled_from(["analyst", "wearer:w1"]))
@example(text=ORACLE, role="analyst")
@example(text=ORACLE, role="wearer:w1")
def test_hidden_rows_change_nothing_that_a_statement_says(
    opened: dict[str, tuple[Store, Store]], text: str, role: str
) -> None:
    assert not told_apart(opened[role], text), text


@pytest.mark.parametrize(
    ("role", "view"), [("analyst", "events"), ("wearer:w1", "events"), ("analyst", "edge_records")]
)
def test_nothing_that_throws_tells_of_a_hidden_row(
    opened: dict[str, tuple[Store, Store]], role: str, view: str
) -> None:
    column, number, hidden = {
        "events": ("zone", '"first"', "zone = 'health' OR wearer = 'w2' OR \"first\" > 300"),
        "edge_records": ("child_id", "parent_number", "child_source = 'g2' OR parent_number > 300"),
    }[view]
    for failing in THROWING:
        throws = failing.format(s=column, n=number)
        text = (
            f"SELECT count(*) FROM {view} WHERE CASE WHEN {hidden} THEN ({throws}) IS NOT NULL ELSE true END"
        )
        assert not told_apart(opened[role], text), text


def test_the_functions_do_throw() -> None:
    """DuckDB itself fails with nearly all of them on some value: else they would prove nothing."""
    failed = 0
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE x AS SELECT 'health(' AS s, i AS n FROM range(3) r(i)")
        for failing in THROWING:
            try:
                connection.execute(f"SELECT {failing.format(s='s', n='n')} FROM x").fetchall()
            except duckdb.Error:
                failed += 1
    assert failed >= 60


COMPUTED = (
    ("events", "t_last"),
    ("decisions", "at"),
    ("epochs", "published"),
    ("event_records", "id"),
    ("event_records", "t"),
    ("event_records", "t_ns"),
    ("event_records", "due"),
    ("decisions", "id"),
    *(("labels", name) for name in (*LISTS, "retention", "retention_days", "nature")),
    ("edge_records", "parent_id"),
    ("io_counts", "observed"),
    ("io_counts", "counted_key"),
)


def test_what_views_compute_is_computed_from_all_that_it_takes(pair: tuple[Path, Path]) -> None:
    """A statement is handed the columns that it names, and those behind them."""
    officer = Role.of("privacy-officer")
    with Store.open(pair[0], officer) as opened:
        for view, name in COMPUTED:
            with Store.open(pair[0], officer) as anew:
                alone = sorted(map(repr, anew.sql(f'SELECT v."{name}" FROM {view} v', 10_000).rows))
            whole = opened.sql(f"SELECT * FROM {view}", 10_000).dicts()
            assert alone == sorted(repr((row[name],)) for row in whole), (view, name)


@pytest.mark.parametrize("role", ["privacy-officer", "analyst", "wearer:w1"])
def test_a_view_has_as_many_rows_as_are_counted(pair: tuple[Path, Path], role: str) -> None:
    """Rows that a view tells apart by columns that the statement does not name."""
    with Store.open(pair[0], Role.of(role)) as opened:
        views = [name for (name,) in opened.sql("SELECT view_name FROM duckdb_views()", 1000).rows]
        assert "labels" in views
        for view in views:
            with Store.open(pair[0], Role.of(role)) as anew:
                ((counted,),) = anew.sql(f"SELECT count(*) FROM {view}").rows
            assert counted == len(opened.sql(f"FROM {view}", 1_000_000).rows), view


def test_more_than_a_role_is_given_at_most_is_a_sentence(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ROLE_ROWS_MB", 0)
    outcomes = []
    for path in pair:
        with Store.open(path, Role.of("wearer:w1")) as opened:
            for _ in range(2):
                with pytest.raises(
                    InputError, match="takes more than 0 MB to set apart, expected less"
                ) as refused:
                    opened.sql("FROM events")
                outcomes.append(str(refused.value))
            assert opened.sql("SELECT 1").rows == [(1,)]
    assert len(set(outcomes)) == 1
