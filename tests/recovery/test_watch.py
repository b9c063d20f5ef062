"""Stalls and the verdict of a round, from samples that a test makes up."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streams import logs
from tests.recovery.checks import Lineage
from tests.recovery.pipeline import Struck
from tests.recovery.report import Result, block
from tests.recovery.schedule import Fault
from tests.recovery.watch import Stall, Watch, quiet_client, stalls

KILL, RESTART = "worker SIGKILL", "broker SIGKILL"


def watched(silent: dict[int, tuple[int, int]], waiting: bool = True) -> Watch:
    """Samples of two partitions, once a second for 100 s.

    They move all the time, but not in their `silent` seconds.
    """
    watch = Watch("nobody:1", partitions=2)
    done = {0: 0, 1: 0}
    for second in range(100):
        for partition in done:
            low, high = silent.get(partition, (0, 0))
            done[partition] += not low <= second < high
        watch.note(
            float(second), dict(done), {partition: count + waiting for partition, count in done.items()}
        )
    return watch


def struck(kind: str, at_s: float, back_s: float, target: str = "worker-1") -> Struck:
    return Struck(Fault(at_s, kind, target, back_s - at_s), at_s, back_s)


def test_a_stall_is_that_of_the_slowest_partition_and_begins_with_the_fault() -> None:
    watch = watched({1: (20, 27)})
    assert watch.stall_s(20.5) == 6.5
    assert watch.stall_s(50.0) == 1.0
    assert watched({1: (40, 60)}).stall_s(20.0) == 1.0, (
        "a stall that begins long after is not this fault's doing"
    )


def test_a_partition_with_nothing_to_do_does_not_stand_still() -> None:
    assert watched({0: (20, 90), 1: (20, 90)}, waiting=False).stall_s(20.0) == 1.0


def test_a_stall_counts_alone_only_where_no_other_fault_of_workers_broker_or_backlog_lasts() -> None:
    watch = watched({1: (20, 27)})
    kill = struck(KILL, 20.0, 21.0)
    for other, alone in (
        (struck("snapshots SIGKILL", 22.0, 23.0, "snapshots"), True),
        (struck("worker SIGSTOP", 22.0, 30.0, "worker-2"), False),
        (struck("backlog", 8.0, 15.0, "device"), False),
        (struck("worker SIGTERM", 8.0, 14.0, "worker-2"), False),
        (struck("worker SIGTERM", 5.0, 10.0, "worker-2"), True),
    ):
        assert [(one.stall_s, one.alone) for one in stalls(watch, [kill, other], KILL)] == [(7.0, alone)]


def test_a_broker_is_waited_for_from_when_it_answers() -> None:
    found = stalls(watched({0: (20, 31), 1: (20, 31)}), [struck(RESTART, 20.0, 26.0, "broker")], RESTART)
    assert [one.stall_s for one in found] == [5.0]


def result(**changes: Any) -> Result:
    ledger = {
        "clean": True,
        "findings": [],
        "batches_sent": 1000,
        "events_sent": 20_000,
        "events_missing": 0,
        "events_twice": 0,
        "epochs": 7,
        "topics": {"events_missing": 0, "events_twice": 0, "out_of_order": 0, "repeated": 3, "late": 2},
    }
    kill = struck(KILL, 20.0, 21.0)
    values: dict[str, Any] = {
        "seed": 5,
        "struck": [kill],
        "sent_s": 10.0,
        "drained_s": 1.0,
        "ledger": ledger,
        "lineage": Lineage(0),
        "worker_stalls": [Stall(kill, 6.4, alone=True)],
        "broker_stalls": [],
        "ended": Counter(),
        "left_behind": 0,
    }
    return Result(**{**values, **changes})


def test_a_clean_round_says_so_with_its_numbers() -> None:
    lines = block(result())
    assert lines[-1] == "clean"
    assert "sent      1,000 batches, 20,000 events in 10 s: 100 batches/s; drained 1 s later" in lines
    assert any(
        line.startswith("stalls    after a worker SIGKILL 6.4 s at most in 1 (at most 10)") for line in lines
    )


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"lineage": Lineage(None, "no such option")}, "lineage was not compared: no such option"),
        ({"lineage": Lineage(3, "edges")}, "3 rows of lineage differ"),
        ({"ledger": {"clean": False, "findings": ["1 events are missing"]}}, "1 events are missing"),
        (
            {"worker_stalls": [Stall(struck(KILL, 20.0, 21.0), 10.4, alone=True)]},
            "stood still for 10.4 s after the kill of a worker",
        ),
        (
            {"broker_stalls": [Stall(struck(RESTART, 20.0, 21.0, "broker"), 15.1, alone=True)]},
            "stood still for 15.1 s after the return of the",
        ),
        ({"findings": ["the store did not reach the end"]}, "did not reach the end"),
    ],
)
def test_whatever_is_wrong_makes_a_round_not_clean(changes: dict[str, Any], finding: str) -> None:
    found = result(**changes)
    assert not found.clean
    assert block(found)[-1] == "not clean"
    assert any(finding in one for one in found.findings), found.findings


def test_a_stall_among_other_faults_is_told_and_is_no_finding() -> None:
    found = result(worker_stalls=[Stall(struck(KILL, 20.0, 21.0), 40.0, alone=False)])
    assert found.clean
    assert any("none alone (40.0 s in 1 that met other faults)" in line for line in block(found))


async def test_a_broker_that_is_away_is_said_once_and_so_is_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, asked, enough = list[str](), list[bool](), asyncio.Event()
    there = [False, False, True, True, False, False]

    class Clients:
        async def list_consumer_group_offsets(self, *_arguments: object, **_named: object) -> dict[Any, Any]:
            asked.append(there[len(asked)])
            if len(asked) == len(there):
                enough.set()
            if not asked[-1]:
                raise OSError
            return {}

        async def end_offsets(self, _tps: object) -> dict[Any, Any]:
            return {}

    @asynccontextmanager
    async def clients(_watch: Watch) -> AsyncIterator[tuple[Clients, Clients]]:
        yield Clients(), Clients()

    monkeypatch.setattr(Watch, "_clients", clients)
    monkeypatch.setattr("tests.recovery.watch.EVERY_S", 0.0)
    watching = asyncio.create_task(Watch("nobody:1", say=said.append).run())
    await asyncio.wait_for(enough.wait(), 10)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    away, back = "the broker at nobody:1 does not answer", "the broker at nobody:1 answers again"
    assert said == [away, back, away]


def test_the_client_is_quiet_also_after_a_broker_has_answered(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client = logging.getLogger("aiokafka")
    with quiet_client():
        logs.connected()
        client.error("Unable connect")
    assert (caplog.records, capfd.readouterr().err) == ([], "")
    client.error("heard again")
    assert len(caplog.records) == 1
