"""What the bench says: the machine, one table, and the file it keeps."""

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

from bench.load import DEVICES, EVENTS_PER_BATCH, RECORDING
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
    "Batches of {events} IMU samples of {recording}, {devices} devices, {partitions} partitions; one process"
    " a subject, one subject at a time; broker on the same {cores} cores. Counted: committed output, read"
    " back once it is there; the rate is the slope of its number over the time at which the broker appended"
    " it. Median of {rounds} interleaved rounds; ratios are medians of the ratios within a round. Work:"
    " {work}. No snapshots writer runs."
)


def machine() -> dict[str, Any]:
    """Versions, cores, memory, commit, load: what figures are worth nothing without."""
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
    """Write the result to `bench/results`, under its date and what comes before it; return the file."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{of}{result['date']}.json"
    file.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    return file


def equal_work(subjects: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all subjects that worked off as many batches wrote the same ones, in every round."""
    sums: dict[tuple[int, ...], set[tuple[str, ...]]] = {}
    for one in subjects.values():
        sums.setdefault(tuple(one["batches"]), set()).add(tuple(one["checksums"]))
    return all(len(some) == 1 for some in sums.values())


def show(result: Mapping[str, Any]) -> None:
    """Print the race as one table, then what else was measured."""
    subjects = result["subjects"]
    rows = [
        (
            name,
            one["does"],
            one["delivery"],
            f"{one['batches_per_s']:,.0f}",
            f"{one['events_per_s']:,}",
            f"{one['lowest']:,.0f} … {one['highest']:,.0f}",
            _cost(one),
            ", ".join(_ratio(ratio) for ratio in result["ratios"] if ratio["subject"] == name),
        )
        for name, one in subjects.items()
    ]
    emit_table(
        (
            "subject",
            "does",
            "delivery",
            "batches/s",
            "events/s",
            "lowest … highest",
            "CPU µs a batch + broker's",
            "ratios (bar)",
        ),
        rows,
    )
    whole = max((max(one["batches"]) for one in subjects.values()), default=0)
    fewer = [
        f"{name} the first {max(one['batches']):,}"
        for name, one in subjects.items()
        if max(one["batches"]) < whole
    ]
    work = f"{whole:,} batches a round" + (f", {', '.join(fewer)} of them" if fewer else "")
    click.echo(
        _CAPTION.format(
            events=EVENTS_PER_BATCH,
            recording=RECORDING,
            devices=DEVICES,
            partitions=PARTITIONS_DEFAULT,
            rounds=result["rounds"],
            cores=result["cores"],
            work=work,
        )
    )
    for name, reason in result["skipped"].items():
        click.echo(f"not run: {name}: {reason}")
    click.echo(
        f"equal work: {'yes' if equal_work(subjects) else 'NO'}; "
        f"repeated: {sum(one['repeated'] for one in subjects.values())}; "
        f"{result['cores']} cores, {result['memory_gb']} GB, load {result['load']} at the start, "
        f"Python {result['python']}, commit {result['commit']}"
    )
    _tables(result)


def show_tables(result: Mapping[str, Any]) -> None:
    """Print the machine and the tables of a result that has no race."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    click.echo(
        f"{result['cores']} cores, {result['memory_gb']} GB, load {result['load']} at the start, Python "
        f"{result['python']}, commit {result['commit']}{' and changes' if result['changed'] else ''}; "
        f"took {result['took_s']} s\n{versions}"
    )
    _tables(result)


def _tables(result: Mapping[str, Any]) -> None:
    for title, rows_of in result.get("tables", {}).items():
        click.echo(f"\n{title}")
        _plain(rows_of)


def _cost(one: Mapping[str, Any]) -> str:
    # What is committed all at once tells nothing about the time before.
    return f"{one['cpu_us']:.0f} + {one['broker_cpu_us']:.0f}" if one["cpu_us"] else ""


def _ratio(ratio: Mapping[str, Any]) -> str:
    return (
        f"{ratio['ratio']:.2f} x {ratio['over']} "
        f"(≥ {ratio['least']:g}{'' if ratio['reached'] else ', NOT REACHED'})"
    )


def _plain(rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = tuple(rows[0])
        emit_table(names, [tuple(row.get(name, "") for name in names) for row in rows])


def skipped() -> dict[str, str]:
    """Subjects that cannot run here, with the reason."""
    return {subject.name: reason for subject in SUBJECTS if (reason := subject.missing())}
