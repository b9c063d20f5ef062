"""Output of the bench: the machine, the tables, and the stored result."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import psutil

from bench.bars import NOT_MEASURED, shown
from bench.load import DEVICES
from bench.subjects import SUBJECTS
from streams import clock
from streams.cli.output import emit_table
from streams.kafka.jars import KAFKA_VERSION
from streams.topology import PARTITIONS_DEFAULT

RESULTS = Path(__file__).parent / "results"
_VERSIONS_OF = (
    "faust-streaming",
    "aiokafka",
    "orjson",
    "numpy",
    "duckdb",
    "pyarrow",
    "kuzu",
    "ml-metadata",
    "quixstreams",
    "bytewax",
    "confluent-kafka",
    "cedarpy",
    "common-expression-language",
)
_CAPTION = (
    "{about}, {events:g} events a batch in the mean, {encoding}; {devices} devices, {partitions} partitions;"
    " one process a subject, one subject at a time; broker on the same {cores} cores. Counted: committed"
    " output, read back once it is there; the rate is the slope of its number over the time at which the"
    " broker appended it. "
    "Median and quartiles of {rounds} interleaved rounds. Work: {work}. No snapshots writer runs."
)


def machine() -> dict[str, Any]:
    """Versions, cores, memory, commit, load, without which figures cannot be compared."""
    at = datetime.datetime.fromtimestamp(clock.now_ns() / 1e9, tz=datetime.UTC)
    return {
        "date": at.strftime("%Y-%m-%dT%H%MZ"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "versions": {"kafka": KAFKA_VERSION, **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()


def keep(result: Mapping[str, Any], of: str = "") -> Path:
    """Write the result to `bench/results` under `of` and its date; return the file."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{of}{result['date']}.json"
    file.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    return file


def equal_work(subjects: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all subjects that processed the same number of batches wrote the same ones, in every round."""
    sums: dict[tuple[int, ...], set[tuple[str, ...]]] = {}
    for one in subjects.values():
        sums.setdefault(tuple(one["batches"]), set()).add(tuple(one["checksums"]))
    return all(len(some) == 1 for some in sums.values())


def show(result: Mapping[str, Any]) -> None:
    """Print each race as a table, then the bars, then the other measurements."""
    for name, race in result["races"].items():
        _show_race(name, race, result)
    click.echo("Bars: the median of a figure of each round, and its quartiles; missed where both lie beyond")
    _plain(bar_lines(result["bars"]))
    for name, reason in result["skipped"].items():
        click.echo(f"not run: {name}: {reason}")
    click.echo(_machine_line(result))
    _tables(result)


def _show_race(name: str, race: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    subjects = race["subjects"]
    click.echo(f"\n{name}")
    _plain(
        [
            {
                "subject": subject,
                "does": one["does"],
                "delivery": one["delivery"],
                "batches/s": f"{one['batches_per_s']:,.0f}",
                "events/s": f"{one['events_per_s']:,}",
                "quartiles": f"{one['low']:,.0f} … {one['high']:,.0f}",
                "CPU µs a batch + broker's": _cost(one),
            }
            for subject, one in subjects.items()
        ]
    )
    whole = race["batches"]
    fewer = [
        f"{subject} the first {max(one['batches']):,}"
        for subject, one in subjects.items()
        if max(one["batches"]) < whole
    ]
    click.echo(
        _CAPTION.format(
            about=race["about"],
            events=race["events_per_batch"],
            encoding=race["encoding"],
            devices=DEVICES,
            partitions=PARTITIONS_DEFAULT,
            rounds=result["rounds"],
            cores=result["cores"],
            work=f"{whole:,} batches a round" + (f", {', '.join(fewer)} of them" if fewer else ""),
        )
    )
    click.echo(
        f"equal work: {'yes' if equal_work(subjects) else 'NO'}; "
        f"repeated: {sum(one['repeated'] for one in subjects.values())}\n"
    )


def bar_lines(bars: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One line per bar: the requirement, the measurement, and whether it is missed."""
    return [
        {
            "bar": held["bar"],
            "asked": held["asked"],
            "measured": _measured(held),
            "": "MISSED" if held.get("missed") else "",
        }
        for held in bars
    ]


def _measured(held: Mapping[str, Any]) -> str:
    if "median" not in held:
        return NOT_MEASURED
    low, middle, high = (shown(held[name]) for name in ("low", "median", "high"))
    return middle if len(held["rounds"]) == 1 else f"{middle} [{low} … {high}]"


def _machine_line(result: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{result['cores']} cores, {result['memory_gb']} GB, load {result['load']} at the start, Python "
        f"{result['python']}, commit {result['commit']}{' and changes' if result['changed'] else ''}; "
        f"took {result['took_s']} s\n{versions}"
    )


def show_tables(result: Mapping[str, Any]) -> None:
    """Print the machine and the tables of a result without a race."""
    click.echo(_machine_line(result))
    _tables(result)


def _tables(result: Mapping[str, Any]) -> None:
    for title, rows_of in result.get("tables", {}).items():
        click.echo(f"\n{title}")
        _plain(rows_of)


def _cost(one: Mapping[str, Any]) -> str:
    # If everything is committed at once, there is no slope.
    return f"{one['cpu_us']:.0f} + {one['broker_cpu_us']:.0f}" if one["cpu_us"] else ""


def _plain(rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = tuple(rows[0])
        emit_table(names, [tuple(row.get(name, "") for name in names) for row in rows])


def skipped() -> dict[str, str]:
    """Subjects that cannot run here, with the reason."""
    return {subject.name: reason for subject in SUBJECTS if (reason := subject.missing())}
