"""Every place in the code that moves data is declared, and nothing is declared that is not there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams.recorder import OPERATIONS, WITHOUT_EVENTS, Operation, linked
from streams.topology import STAGES
from tests.recorder.sites import ROOT, all_sites

#: The maintainers make the recordings in this repository with what is in `make`.
SOURCES = sorted(
    path
    for room in ("streams", "device_sim")
    for path in (ROOT / room).rglob("*.py")
    if "make" not in path.parts
)
DECLARED = Counter(site for operation in OPERATIONS for site in {*operation.sites}) + Counter(
    site for sites in WITHOUT_EVENTS.values() for site in sites
)


def undeclared(sources: list[Path], root: Path = ROOT) -> list[str]:
    """Sites in `sources` that no operation and no reason declares, with their lines."""
    return [f"{line} {site}" for site, line in all_sites(sources, root).items() if site not in DECLARED]


def test_every_site_is_declared() -> None:
    assert undeclared(SOURCES) == [], (
        "these move data past the recorder: declare them in streams/recorder with where their "
        "lineage is recorded, or in streams/recorder/without.py with the reason why they move none"
    )


def test_every_declared_site_is_there() -> None:
    assert sorted(DECLARED.keys() - all_sites(SOURCES).keys()) == []


def test_no_site_has_data_of_events_and_none() -> None:
    with_events = {site for operation in OPERATIONS for site in operation.sites}
    without = Counter(site for sites in WITHOUT_EVENTS.values() for site in sites)
    assert not with_events & without.keys()
    assert without.total() == len(without), "a site has one reason"


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ('open("x", "w").write(value)', "open"),
        ('path.open("rb").read()', "open"),
        ("path.write_bytes(value)", "write_bytes"),
        ("path.read_text()", "read_text"),
        ("os.open(path, os.O_RDONLY)", "os.open"),
        ("files.written(path)", "files.written"),
        ("await producer.send(topic, value)", "send"),
        ("await self._producer.send_and_wait(topic, value)", "send_and_wait"),
        ("await producer.send_batch(batch, topic, partition=0)", "send_batch"),
        ("await consumer.getmany()", "getmany"),
        ("AIOKafkaConsumer(topic)", "AIOKafkaConsumer"),
        ("duckdb.connect(path)", "duckdb.connect"),
        ("connection.execute(\"COPY (FROM events) TO 'x.parquet'\")", "SQL COPY"),
        ("connection.execute(f\"COPY events TO '{path}'\")", "SQL COPY"),
        ("connection.execute(f\"SELECT * FROM read_parquet('{path}')\")", "SQL read_parquet"),
        ("connection.execute(f\"ATTACH '{path}'\")", "SQL ATTACH"),
        ("connection.sql(\"FROM 'x.csv'\")", "SQL file"),
        ("subprocess.run(['curl', address])", "subprocess.run"),
        ("socket.create_connection(address)", "socket.create_connection"),
        ("model.predict(texts)", "predict"),
        ("regression.fit(x, y)", "fit"),
        ("click.echo(value)", "echo"),
    ],
)
def test_a_call_that_nobody_declared_is_found(tmp_path: Path, line: str, how: str) -> None:
    module = tmp_path / "scratch.py"
    module.write_text(f"async def leak():\n    {line}\n", encoding="utf-8")
    assert f"scratch.py:2 scratch.py:leak:{how}" in undeclared([module], tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "Store.open(path)",
        "answer.found()",
        '"""COPY (what a docstring says) TO nowhere."""',
        "opened.sql('FROM events')",
    ],
)
def test_what_moves_no_data_is_no_site(tmp_path: Path, line: str) -> None:
    module = tmp_path / "scratch.py"
    module.write_text(f"async def calm():\n    {line}\n", encoding="utf-8")
    assert undeclared([module], tmp_path) == []


def test_a_second_call_in_a_declared_function_is_found(tmp_path: Path) -> None:
    source = ROOT / "streams" / "queries" / "standards" / "writing.py"
    copy = tmp_path / source.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    text = source.read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    assert undeclared([copy], tmp_path) == []
    twice = text.replace(
        "    with files.added(path) as file:\n",
        "    with files.added(path) as file, files.added(path.with_name('copy')):\n",
    )
    assert twice != text
    copy.write_text(twice, encoding="utf-8")
    assert [line.split(" ", 1)[1] for line in undeclared([copy], tmp_path)] == [
        "streams/queries/standards/writing.py:write_standard:files.added 2"
    ]


def test_every_operation_is_declared_whole() -> None:
    names = {each.name for each in OPERATIONS}
    assert len(names) == len(OPERATIONS)
    reads = {each.name for each in OPERATIONS if each.direction == "read"}
    whole = linked(OPERATIONS)
    for each in OPERATIONS:
        assert each.sites, each.name
        assert {*each.reads} <= reads, f"{each.name} is made from something that is no read"
        assert not (each.direction == "read" and (each.reads or each.recorded_in)), each.name
        assert (each.name in whole) is not bool(each.reason), f"{each.name}: a reason, or a link, not both"
    assert all(len(reason) > 20 for reason in WITHOUT_EVENTS)


def test_every_topic_that_a_stage_writes_is_an_operation() -> None:
    written = {f"{stage.name} writes {topic}" for stage in STAGES for topic in stage.writes}
    assert written <= {each.name for each in OPERATIONS}


def test_a_read_is_linked_by_what_is_written_from_it() -> None:
    def operation(name: str, *reads: str, write: bool = False, to: tuple[str, ...] = ()) -> Operation:
        return Operation(
            name=name,
            direction="write" if write else "read",
            asset="topic",
            step="x",
            sites=("x",),
            reads=reads,
            recorded_in=to,
        )

    drawn = [
        operation("read and lost"),
        operation("read and kept"),
        operation("lost", "read and lost", write=True),
        operation("kept", "read and kept", write=True, to=("edges",)),
    ]
    assert linked(drawn) == {"kept", "read and kept"}
