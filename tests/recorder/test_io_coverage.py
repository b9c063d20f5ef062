"""Each class of write is linked to what it was made from, in a played store; and the number is true."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
import xxhash
from click.testing import CliRunner

from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.queries.io_coverage import IoCoverage, io_coverage
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import ANSWERS, CAPTURED, DERIVED, EXAMPLES, MODELS
from tests.queries.golden import JOURNAL, asked, sent
from tests.recorder.sites import ROOT

OUTPUTS = {
    f"processing writes {DERIVED}": DERIVED,
    f"assistant writes {ANSWERS}": ANSWERS,
    f"feedback writes {EXAMPLES}": EXAMPLES,
    f"training writes {MODELS}": MODELS,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the golden journal's `store` and its derived records in `out`."""
    home = tmp_path_factory.mktemp("recorded")
    words = ["replay", str(JOURNAL.parent), "--store", str(home / "store"), "--out", str(home / "out")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture(scope="module")
def answer(home: Path) -> IoCoverage:
    with Store.open(home / "store") as opened:
        return io_coverage(opened)


def rows(home: Path, statement: str) -> list[Any]:
    """What a DuckDB without Sightline reads in the catalog."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{home}/store/catalog.duckdb' AS lineage (READ_ONLY)")
        connection.execute(f"SET file_search_path = '{home}/store'")
        connection.execute("USE lineage")
        return connection.execute(statement).fetchall()


def lines(home: Path, topic: str) -> Iterator[tuple[dict[str, Any], str, tuple[int, int, int]]]:
    """(line, source/stream, run) of each derived record of a topic, as the replay wrote it."""
    for text in (home / "out" / f"{topic}.jsonl").read_bytes().splitlines():
        line = orjson.loads(text)
        headers = line["headers"]
        if "sightline-run" in headers:
            first, step, count = map(int, headers["sightline-run"].split())
            stream = headers["ce_subject"].rsplit("/", 1)[0] if "ce_subject" in headers else ""
            yield line, stream or headers["ce_id"].rsplit("/", 1)[0], (first, step, count)


def test_the_number_is_that_of_the_declarations_in_the_source(answer: IoCoverage) -> None:
    # Counted in the text, not by importing it: an operation without a link has a reason, and only such one.
    recorder = ROOT / "streams" / "recorder"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(recorder.glob("*.py")))
    unlinked = len(re.findall(r"^ +reason=\"", text, re.MULTILINE))
    assert unlinked == answer.declared - answer.linked > 0
    assert answer.percent == round(100 - 100 * unlinked / answer.declared, 1)
    assert len(answer.operations.rows) == answer.declared
    assert [each.linked for each in answer.operations.rows] == [False] * unlinked + [True] * answer.linked


def test_what_is_observed_is_what_the_journal_and_the_outputs_have(home: Path, answer: IoCoverage) -> None:
    observed = {each.operation: each.observed for each in answer.operations.rows}
    for operation, topic in OUTPUTS.items():
        events = sum(run[2] for _, _, run in lines(home, topic))
        assert observed[operation] == events > 0, operation
    captured = sum(line["n"] for line in sent())
    statement = f"SELECT sum(count) FROM rejected WHERE topic = '{CAPTURED}' AND stage = 'zones'"
    [(refused,)] = rows(home, statement)
    assert observed["devices send captured batches"] == captured - refused
    assert observed["zones writes glasses.zoned"] == captured - refused, "what is refused is not written"
    assert observed["assistant calls its model"] == sum(run[2] for _, _, run in lines(home, ANSWERS))


def test_every_derived_event_is_linked_to_the_events_that_it_was_made_from(home: Path) -> None:
    stored: dict[str, set[str]] = {}
    for child, parent in rows(home, "SELECT child_id, parent_id FROM edge_records"):
        stored.setdefault(child, set()).add(parent)
    seen = Counter[str]()
    for topic in OUTPUTS.values():
        for line, stream, (first, step, count) in lines(home, topic):
            for nth in range(count):
                parents = {
                    f"{each['source']}/{each['stream']}/{number}"
                    for each in line["parents"]
                    for number in parents_of(each, nth)
                }
                assert stored[f"{stream}/{first + step * nth}"] == parents
                seen[topic] += 1
    assert seen.keys() == {*OUTPUTS.values()}


def parents_of(parent: dict[str, Any], nth: int) -> range:
    start = parent["first"] + parent["step"] * nth
    return range(start, start + parent["width"])


def test_a_training_run_is_linked_to_its_manifest_its_model_and_the_examples_that_it_judged(
    home: Path,
) -> None:
    [(version, digest, manifest)] = rows(
        home, "SELECT version, digest, manifest_digest FROM models JOIN training_runs USING (version)"
    )
    assert version == 1
    assert all(re.fullmatch(r"[0-9a-f]{16,64}", each) for each in (digest, manifest))
    [(judged,)] = rows(home, "SELECT count(*) FROM decisions WHERE sink = 'training-run' AND passed")
    assert judged > 0


def test_every_file_of_the_store_is_listed_with_its_digest_and_its_epochs(home: Path) -> None:
    # The writer's own list also has the files that a newer epoch replaced and that are not yet deleted.
    with duckdb.connect(str(home / "store" / "hot.duckdb"), read_only=True) as connection:
        statement = " UNION ALL ".join(
            f"SELECT file, digest, first_epoch, last_epoch FROM {table}" for table in ("segments", "indexes")
        )
        listed = {file: about for file, *about in connection.execute(statement).fetchall()}
    files = {f"segments/{path.name}": path for path in (home / "store" / "segments").iterdir()}
    assert listed.keys() == files.keys()
    epochs = {number for (number,) in rows(home, "SELECT epoch FROM epochs WHERE offsets IS NOT NULL")}
    for name, (digest, first, last) in listed.items():
        assert digest == xxhash.xxh3_128(files[name].read_bytes()).hexdigest()
        assert {first, last} <= epochs


@pytest.mark.parametrize(
    "words",
    [
        ("export", "prov", "{out}"),
        ("snapshots", "export", "--out", "{out}"),
        ("sql", "SELECT 1 AS number", "--out", "{out}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_export_is_linked_to_the_epoch_that_it_was_read_from(
    home: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    log, out = home / "store" / AUDIT_LOG, tmp_path / "out"
    log.unlink(missing_ok=True)
    asking = [word.format(out=out) for word in words]
    result = CliRunner().invoke(main, [*asking, "--store", str(home / "store"), "--role", "analyst"])
    assert result.exit_code == 0, result.output
    (line,) = map(orjson.loads, log.read_bytes().splitlines())
    [(newest,)] = rows(home, "SELECT max(epoch) FROM epochs")
    assert (line["role"], line["epoch"]) == ("analyst", newest)
    if words[0] != "sql":
        assert line["wrote"] == xxhash.xxh3_128(out.read_bytes()).hexdigest()
    shown = asked(home / "store", "ask", "reads")
    assert shown["latest"][0]["epoch"] == newest


def test_a_role_counts_what_it_sees_and_the_share_is_the_same(home: Path, answer: IoCoverage) -> None:
    with Store.open(home / "store", Role.of("analyst")) as opened:
        seen = io_coverage(opened)
    assert (seen.percent, seen.declared) == (answer.percent, answer.declared)
    every = {each.operation: each.observed for each in answer.operations.rows}
    for each in seen.operations.rows:
        if isinstance(each.observed, int):
            whole = every[each.operation]
            assert isinstance(whole, int)
            assert each.observed <= whole


def test_the_view_says_the_same_without_sightline(home: Path, answer: IoCoverage) -> None:
    [(share,)] = rows(home, "SELECT round(100 * avg(linked::INTEGER), 1) FROM io_coverage")
    assert share == answer.percent
    [(observed,)] = rows(
        home,
        "SELECT count(*) FROM io_coverage SEMI JOIN (FROM io_counts WHERE observed > 0) "
        "USING (counted, counted_key)",
    )
    assert observed == answer.observed


@pytest.mark.parametrize("role", ["analyst", "privacy-officer"])
def test_a_catalog_of_before_says_what_to_do(home: Path, tmp_path: Path, role: str) -> None:
    copy = shutil.copytree(home / "store", tmp_path / "store", symlinks=True)
    catalog = (copy / "catalog.duckdb").resolve()
    catalog.chmod(0o600)
    with duckdb.connect(str(catalog)) as connection:
        connection.execute("DROP TABLE io_coverage; DROP VIEW io_counts")
    result = CliRunner().invoke(main, ["ask", "io-coverage", "--store", str(copy), "--role", role])
    assert result.exit_code == 2
    assert "without io_coverage" in result.output
    assert "let `sightline snapshots` publish one" in result.output


def test_the_past_is_counted_as_it_was(home: Path) -> None:
    with Store.open(home / "store") as opened:
        opened.look_back(1)
        then = io_coverage(opened)
    with Store.open(home / "store", Role.of("privacy-officer")) as opened:
        opened.look_back(1)
        assert io_coverage(opened).operations == then.operations
    observed = {each.operation: each.observed for each in then.operations.rows}
    [(events,)] = rows(home, f"SELECT sum(count) FROM events WHERE topic = '{CAPTURED}' AND epoch <= 1")
    assert (observed["writer reads lineage"], observed["devices send captured batches"]) == (1, events)
