"""What a round showed, as numbers and as the block that is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.recovery.checks import Lineage
from tests.recovery.pipeline import Struck
from tests.recovery.watch import Stall

#: Seconds of standing still that are allowed after a worker was killed, and after a broker answers again.
WORKER_STALL_MAX_S, BROKER_STALL_MAX_S = 10.0, 15.0


@dataclass
class Result:
    """One round. `findings` are sentences; it is clean when there are none."""

    seed: int
    struck: Sequence[Struck]
    sent_s: float
    drained_s: float
    ledger: dict[str, Any]
    lineage: Lineage
    worker_stalls: Sequence[Stall]
    broker_stalls: Sequence[Stall]
    ended: Counter[str]
    left_behind: int
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.findings = [*self.findings, *self.ledger.get("findings", ())]
        if not self.ledger["clean"] and not self.findings:
            self.findings.append("the ledger is not clean")
        if self.lineage.differences is None:
            self.findings.append(f"lineage was not compared: {self.lineage.why}")
        elif self.lineage.differences:
            self.findings.append(
                f"{self.lineage.differences:,} rows of lineage differ from the replay: {self.lineage.why}"
            )
        for what, stalls, most_s in (
            ("the kill of a worker", self.worker_stalls, WORKER_STALL_MAX_S),
            ("the return of the broker", self.broker_stalls, BROKER_STALL_MAX_S),
        ):
            self.findings += [
                f"output stood still for {one.stall_s} s after {what} at {one.struck.fault.at_s} s, at most"
                f" {most_s:g} s is allowed"
                for one in stalls
                if one.alone and one.stall_s > most_s
            ]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def rate(self) -> float:
        """Batches/s that the devices sent, the backlog too."""
        return round(self.ledger.get("batches_sent", 0) / self.sent_s, 1) if self.sent_s else 0.0

    def counts(self) -> dict[str, int]:
        """Missing, twice and disorder, on the topics and in the store together."""
        topics = self.ledger.get("topics") or {}
        return {
            "missing": self.ledger.get("events_missing", -1) + topics.get("events_missing", 0),
            "twice": self.ledger.get("events_twice", -1) + topics.get("events_twice", 0),
            "disorder": topics.get("out_of_order", -1),
        }

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "seed": self.seed,
            "clean": self.clean,
            "findings": self.findings,
            "schedule": [str(one.fault) for one in self.struck],
            "faults": dict(Counter(one.fault.kind for one in self.struck)),
            "sent_s": self.sent_s,
            "drained_s": self.drained_s,
            "batches_sent": self.ledger.get("batches_sent"),
            "events_sent": self.ledger.get("events_sent"),
            "batches_per_s": self.rate,
            **self.counts(),
            "lineage_differences": self.lineage.differences,
            "epochs": self.ledger.get("epochs"),
            "worker_stalls_s": [[one.stall_s, one.alone] for one in self.worker_stalls],
            "broker_stalls_s": [[one.stall_s, one.alone] for one in self.broker_stalls],
            "ended": dict(self.ended),
            "left_behind": self.left_behind,
            "ledger": self.ledger,
        }


def block(result: Result) -> list[str]:
    """The printed lines of a round."""
    ledger, counts = result.ledger, result.counts()
    topics = ledger.get("topics") or {}
    kinds = Counter(one.fault.kind for one in result.struck)
    differences = "not checked" if result.lineage.differences is None else f"{result.lineage.differences:,}"
    return [
        f"seed      {result.seed}",
        *(f"          {one.fault}" for one in result.struck),
        f"faults    {len(result.struck)}: "
        f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}",
        f"sent      {ledger.get('batches_sent', 0):,} batches, {ledger.get('events_sent', 0):,} events "
        f"in {result.sent_s:.0f} s: {result.rate:,.0f} batches/s; drained {result.drained_s:.0f} s later",
        f"link      {topics.get('repeated', 0):,} batches came again, {topics.get('late', 0):,} late",
        f"rejected  {ledger.get('events_rejected', 0):,} events by policy",
        f"missing   {counts['missing']:,}",
        f"twice     {counts['twice']:,}",
        f"disorder  {counts['disorder']:,}",
        f"lineage   differences from a replay: {differences}",
        f"stalls    after a worker SIGKILL {_said(result.worker_stalls)} (at most {WORKER_STALL_MAX_S:g}); "
        f"after a broker restart {_said(result.broker_stalls)} (at most {BROKER_STALL_MAX_S:g})",
        f"loop      {ledger.get('answers', 0):,} answers, {ledger.get('examples', 0):,} examples, "
        f"{len(ledger.get('models', ()))} models",
        f"epochs    {ledger.get('epochs', 0):,}",
        *(
            [f"left over processes of {result.left_behind} starts, ended by the harness"]
            if result.left_behind
            else []
        ),
        *(f"restarted {count} times: {what}" for what, count in sorted(result.ended.items())),
        *(f"FOUND     {finding}" for finding in result.findings),
        "clean" if result.clean else "not clean",
    ]


def _said(stalls: Sequence[Stall]) -> str:
    alone = [one.stall_s for one in stalls if one.alone]
    among = [one.stall_s for one in stalls if not one.alone]
    said = f"{max(alone):.1f} s at most in {len(alone)}" if alone else "none alone"
    return said + (f" ({max(among):.1f} s in {len(among)} that met other faults)" if among else "")


@dataclass
class Account:
    """What is to be found in the end, as far as the harness has seen to it itself."""

    lost_records: int = 0
    remade: bool = False
    sentences: list[str] = field(default_factory=list)


@dataclass
class Round:
    """What a round of pauses showed; it is clean when nothing was found."""

    seed: int
    steps: Sequence[tuple[str, bool]]
    account: Account
    ledger: dict[str, Any]
    missing: dict[str, Any]
    replay: str
    findings: list[str]

    @property
    def clean(self) -> bool:
        """Whether everybody named the same."""
        return not self.findings

    def summary(self) -> str:
        """One line of the table."""
        lost = f"{self.ledger.get('records_lost', 0):,} records lost"
        missing = f"{self.ledger.get('events_missing', -1):,} events missing"
        replay = self.replay if self.replay == "equal" else "says why not"
        return f"{lost}, {missing}, replay {replay}: {'clean' if self.clean else 'not clean'}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "seed": self.seed,
            "steps": [f"{name}{' after a kill' if killed else ''}" for name, killed in self.steps],
            "lost_records": self.account.lost_records,
            "ledger": self.ledger,
            "missing": self.missing,
            "replay": self.replay,
            "clean": self.clean,
            "findings": self.findings,
        }

    def lines(self) -> list[str]:
        """For people."""
        ledger, missing = self.ledger, self.missing
        return [
            f"seed      {self.seed}",
            *(f"          {name}{' after a kill' if killed else ''}" for name, killed in self.steps),
            f"sent      {ledger.get('events_sent', 0):,} events in {ledger.get('batches_sent', 0):,} batches",
            f"lost      {self.account.lost_records:,} records by the harness, "
            f"{ledger.get('records_lost', 0):,} by the ledger, "
            f"{missing.get('lost_records', 0):,} by ask missing",
            f"missing   {ledger.get('events_missing', -1):,} events by the ledger, "
            f"{missing.get('missing_events', -1):,} by ask missing",
            f"twice     {ledger.get('events_twice', -1):,}",
            f"replay    {self.replay}",
            *(f"FOUND     {finding}" for finding in self.findings),
            "clean" if self.clean else "not clean",
        ]
