"""The separate programs that judge a run.

They are the ledger, and a replay of the same journals with the recorded inputs.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from streams.queries.store import Store

LEDGER_WAIT_S, REPLAY_WAIT_S = 600.0, 1800.0
#: Number of captured events by stream and zone, and the sum of their numbers.
_CAPTURED = """SELECT source, stream, zone, sum("count")::BIGINT,
    sum("count" * "first"::HUGEINT + step * ("count" * ("count" - 1) // 2))::VARCHAR
    FROM events WHERE topic = 'glasses.captured' GROUP BY ALL ORDER BY ALL"""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Differences between the lineage of a run and that of its replay; None: nobody looked, and `why`."""

    differences: int | None
    why: str = ""


async def ledger(journal: Path, broker: str | None, store: Path) -> dict[str, Any]:
    """What `sightline ledger` found, or a result that is not clean and says why there is none.

    Without a broker it looks at the store alone.
    """
    topics = () if broker is None else ("--broker", broker)
    done = await sightline(
        "ledger", str(journal), *topics, "--store", str(store), "--json", timeout_s=LEDGER_WAIT_S
    )
    try:
        found: dict[str, Any] = orjson.loads(done.out)
    except orjson.JSONDecodeError:
        return {
            "clean": False,
            "findings": [f"the ledger gave no result: {(done.err or done.out).strip()[-500:]}"],
        }
    return found


async def lineage(journal: Path, broker: str, store: Path, keys: Path, out: Path) -> Lineage:
    """Compare the lineage in `store` with that of a replay of `journal` that is given the recorded inputs."""
    options = (await sightline("replay", "--help", timeout_s=60.0)).out
    missing = [option for option in ("--inputs", "--compare", "--broker", "--keys") if option not in options]
    if missing:
        return Lineage(None, f"sightline replay has no {' and no '.join(missing)}")
    done = await sightline(
        "replay",
        str(journal),
        "--inputs",
        str(store),
        "--compare",
        "--broker",
        broker,
        "--keys",
        str(keys),
        "--store",
        str(out),
        "--json",
        timeout_s=REPLAY_WAIT_S,
    )
    try:
        found = orjson.loads(done.out.strip().splitlines()[-1])["lineage"]
        # An example that no recorded input names is a difference that no table counts.
        differ = sum(table["differ"] for table in found["tables"].values())
        return Lineage(0 if found["equal"] else max(1, differ), "; ".join(found["differences"]))
    except (IndexError, KeyError, TypeError, ValueError):
        return Lineage(None, (done.err or done.out).strip()[-500:])


async def missing(store: Path) -> dict[str, Any]:
    """What `sightline ask missing` answers."""
    return answer_of(
        await sightline("ask", "missing", "--store", str(store), "--role", "privacy-officer", "--json")
    )


async def replay(journal: Path, store: Path, keys: Path, out: Path) -> tuple[str, int]:
    """(`equal`, or what a replay under the recorded inputs says otherwise; records that it left out)."""
    inputs = ("--inputs", str(store), "--keys", str(keys), "--compare", "--store", str(out), "--json")
    done = await sightline("replay", str(journal), *inputs, timeout_s=REPLAY_WAIT_S)
    try:
        found = orjson.loads(done.out.strip().splitlines()[-1])
    except (IndexError, orjson.JSONDecodeError):
        return (done.err or done.out).strip()[-500:], -1
    differ = found["lineage"]["differences"]
    return "equal" if found["lineage"]["equal"] else "; ".join(differ)[:500], found["lost"]


def captured_alike(store: Path, other: Path) -> bool:
    """Whether two stores have the same captured events, whatever was derived from them."""
    found = []
    for each in (store, other):
        with Store.open(each) as opened:
            found.append(opened.sql(_CAPTURED).rows)
    return found[0] == found[1] != []


def answer_of(done: Done) -> dict[str, Any]:
    """The JSON answer of a command, or what it said instead."""
    try:
        answer: dict[str, Any] = orjson.loads(done.out)
    except orjson.JSONDecodeError:
        return {"error": (done.err or done.out).strip()[-500:]}
    return answer


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and how it ended."""

    out: str
    err: str
    code: int | None = None


async def sightline(*arguments: str, timeout_s: float = LEDGER_WAIT_S) -> Done:
    """Run a command to its end; whoever stops waiting for it ends it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streams.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        return Done("", f"it took longer than {timeout_s:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Done(out.decode(errors="replace"), err.decode(errors="replace"), process.returncode)
