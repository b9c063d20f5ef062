"""Measurements of readers as tables, ours and those of the peers."""

from __future__ import annotations

import statistics
import time
from typing import Any

import orjson

from bench.store import peers
from bench.store.children import other_duckdb, said, wall_ms
from bench.store.pairs import Pairs
from bench.store.peers import PEERS, checksum
from bench.store.rows import Rows, moved
from bench.store.sizes import Sizes
from bench.store.tables import Job, Lines, at, row
from streams.queries import questions
from streams.queries.store import Store

VERSIONS = ("1.5.6", "2.0.0")
#: Number of questions for a peer, because one that scans all edges at each hop takes a second per answer.
PEER_QUESTIONS = 40


def asking(job: Job, asked: list[str]) -> dict[str, Lines]:
    """Ask as `analyst` with each DuckDB, and measure a command and a first statement."""
    ids = job.directory / "asked.json"
    ids.write_bytes(orjson.dumps(asked))
    p50_bar = 12 if job.large else 8
    found, p50 = Lines(), dict[tuple[str, str], float]()
    for version in VERSIONS:
        packages = job.directory / f"duckdb-{version}"
        if why := other_duckdb(version, packages):
            found.append(row(f"DuckDB {version}", f"cannot be installed here: {why}"))
            continue
        answers = said("ask", job.store, ids, path=packages)
        if answers["duckdb"] != version:
            raise RuntimeError(f"found DuckDB {answers['duckdb']}, expected {version}")
        name = f"DuckDB {version}:"
        for kind in ("warm", "cold"):
            times_ms = answers[f"{kind}_ms"]
            p50[version, kind] = at(times_ms, 0.5)
            found.append(row(f"{name} ancestors, {kind}, p50 ms", at(times_ms, 0.5), p50_bar))
            found.append(row(f"{name} ancestors, {kind}, p99 ms", at(times_ms, 0.99), 50))
        found.append(row(f"{name} first question after opening, ms", statistics.median(answers["first_ms"])))
        opened = statistics.median(answers["open_ms"]) - statistics.median(answers["bare_ms"])
        found.append(row(f"{name} open minus a bare connect, ms", opened, 10))
        first = statistics.median(
            said("ask", job.store, ids, "--sql", path=packages)["sql_ms"] for _ in range(5)
        )
        found.append(row(f"{name} first statement of a role, ms", first, 300))
    for kind in ("warm", "cold"):
        if both := [p50[version, kind] for version in VERSIONS if (version, kind) in p50]:
            found.append(row(f"slower DuckDB over the other, {kind} p50", max(both) / min(both), 1.5))
    found += _exported(job)
    found.append(row("`sightline ask ancestors` minus `import duckdb`, ms", _command_ms(job, asked[0]), 150))
    return {f"Readers: ancestors of {len(asked)} answers, role analyst, store open": found}


def reaching(job: Job) -> dict[str, Lines]:
    """Ask how far data went."""
    bars = {
        "descendants of a run of a sensor": 12 if job.large else 8,
        "did X reach Y: yes": 5,
        "did X reach Y: no": 5,
        "reach of a wearer": 500,
        "changes between two days": 1000,
    }
    times_ms = said("reaching", job.store)
    found = [row(f"{name}, p50 ms", times_ms[name]["p50_ms"], bar) for name, bar in bars.items()]
    found += [row(f"{name}, longest ms", times_ms[name]["max_ms"]) for name in bars]
    return {f"How far data went, role privacy-officer, store open, {times_ms['wearers']} wearers": found}


def _command_ms(job: Job, identity: str) -> float:
    command = [
        "-m",
        "streams.cli",
        "ask",
        "ancestors",
        identity,
        "--store",
        str(job.store),
        "--role",
        "analyst",
    ]
    times_ms = [(wall_ms(command), wall_ms(["-c", "import duckdb"])) for _ in range(9)]
    return statistics.median(ours for ours, _ in times_ms) - statistics.median(bare for _, bare in times_ms)


def _exported(job: Job) -> Lines:
    """A file with everything that an analyst may see."""
    out = job.directory / "exported.duckdb"
    command = ["snapshots", "export", "--role", "analyst", "--store", str(job.store), "--out", str(out)]
    took_s = wall_ms(["-m", "streams.cli", *command]) / 1000
    size_mb = out.stat().st_size / 1e6
    out.unlink()
    return [row("export, s", took_s), row("export, MB", size_mb)]


def visible(job: Job, rows: Rows) -> list[str]:
    """Ids of answers that an analyst may see, at most as many as requested, from all copies in turn."""
    first = [f"{source}-0/{stream}/{number}" for source, stream, number in rows.answers()]
    everything = job.directory / "answers.json"
    everything.write_bytes(orjson.dumps(first))
    shown = said("ask", job.store, everything, "--visible")
    return [moved(shown[turn * 7 % len(shown)], turn % job.copies) for turn in range(job.questions)]


def beside(job: Job, ids: list[str], load_s: float) -> dict[str, Lines]:
    """The same edges in the alternatives; those that answer differently are named."""
    pairs = Pairs.make(job.store, job.directory / "pairs.parquet", job.peer_copies)
    asked = [each for each in ids if int(each.split("/")[0].rpartition("-")[2]) < job.peer_copies]
    asked = asked[:PEER_QUESTIONS]
    behind, numbers = job.directory / "behind.parquet", job.directory / "numbers.json"
    numbers.write_bytes(orjson.dumps(pairs.numbers(asked)))
    some = pairs.behind(pairs.numbers(asked), behind)
    ours = _ours(job, pairs, asked, load_s)
    found = [_line("Sightline: events, decisions, zones and epochs too", ours["edges"], ours, ours)]
    for name, peer in PEERS.items():
        if why := peers.missing(name):
            found.append({"what": name, "edges": f"absent: {why}"})
            continue
        file, count = (behind, some) if peer.asked_only else (pairs.file, pairs.count)
        found.append(_line(name, count, said("peers", name, file, numbers), ours))
        job.say(f"{name}: done")
    pairs.file.unlink()
    return {f"Beside: ancestors of {len(asked)} answers, without a role, warm": found}


def _ours(job: Job, pairs: Pairs, asked: list[str], load_s: float) -> dict[str, Any]:
    """Our own row: the bytes of edges and of what finds them, and the time to load everything."""
    sizes, trace_ms = Sizes.of(job.store), list[float]()
    with Store.open(job.store) as store:
        traced = [pairs.ancestors(store, identity) for identity in asked]
        for identity in asked:
            began_s = time.perf_counter()
            questions.ancestors(store, identity)
            trace_ms.append((time.perf_counter() - began_s) * 1000)
    return {
        "edges": pairs.count * job.copies // job.peer_copies,
        "load_s": load_s,
        "bytes": sizes.edges_bytes + sizes.indexes_bytes,
        "trace_ms": trace_ms,
        "ancestors": sum(map(len, traced)),
        "checksum": checksum(traced),
    }


def _line(name: str, count: int, one: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    p50_ms, ours_ms = at(one["trace_ms"], 0.5), at(ours["trace_ms"], 0.5)
    each = one["bytes"] / count
    return {
        "what": name,
        "edges": f"{count:,}",
        "load s": round(one["load_s"], 1),
        "edges/s": round(count / one["load_s"]),
        "bytes an edge": round(each, 2),
        "times ours": round(each / (ours["bytes"] / ours["edges"]), 1),
        "p50 ms": round(p50_ms, 2),
        "p99 ms": round(at(one["trace_ms"], 0.99), 2),
        "p50 over ours": round(p50_ms / ours_ms, 2),
        "same ancestors": "yes" if one["checksum"] == ours["checksum"] else "NO",
    }
