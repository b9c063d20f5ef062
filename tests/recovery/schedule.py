"""Which faults strike when: a pure function of the seed, so that a run can be had again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WORKERS, JOINER, SNAPSHOTS, BROKER, DEVICE = (
    ("worker-1", "worker-2"),
    "worker-3",
    "snapshots",
    "broker",
    "device",
)
#: The device's fault is a return after two hours without a network.
BACKLOG_S = 7200.0
PACE_S = (3.0, 10.0)
#: A process that was away needs a moment before another fault of its own makes a difference.
RECOVERY_S = 4.0
QUIET_BEFORE_S, QUIET_AFTER_S = 3.0, 5.0
#: After these it is measured how long output stands still: every other time they strike with nothing else
#: before and after.
MEASURED = ("worker SIGKILL", "broker SIGKILL")
ALONE_BEFORE_S, ALONE_AFTER_S = 9.0, 14.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: whom it can strike, how long it lasts, how often it is in the deck.

    `for_s` is in seconds, lowest and highest.
    """

    targets: tuple[str, ...]
    for_s: tuple[float, float]
    share: int


#: `for_s` of a kill is how long the process stays away; of a freeze how long it stands still; of a join how
#: long it stays.
KINDS = {
    "worker SIGKILL": Kind(WORKERS, (0.0, 3.0), 4),
    "worker SIGSTOP": Kind(WORKERS, (2.0, 20.0), 3),
    "worker SIGTERM": Kind(WORKERS, (0.0, 3.0), 2),
    "worker joins": Kind((JOINER,), (6.0, 20.0), 1),
    "snapshots SIGKILL": Kind((SNAPSHOTS,), (0.0, 3.0), 2),
    "snapshots SIGSTOP": Kind((SNAPSHOTS,), (2.0, 12.0), 1),
    "broker SIGKILL": Kind((BROKER,), (0.0, 4.0), 2),
    "broker SIGSTOP": Kind((BROKER,), (2.0, 8.0), 1),
    "disk full": Kind((SNAPSHOTS,), (3.0, 12.0), 2),
    "backlog": Kind((DEVICE,), (0.0, 0.0), 0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at_s` and `for_s` in seconds, from the start of the schedule and from its own start."""

    at_s: float
    kind: str
    target: str
    for_s: float

    def __str__(self) -> str:
        lasts = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:7.1f} s  {self.kind:18} {self.target}{lasts}"


def schedule(
    seed: int, duration_s: float, *, kinds: Iterable[str] = KINDS, pace_s: tuple[float, float] = PACE_S
) -> list[Fault]:
    """Faults of a run of `duration_s` seconds, in order of time.

    All of them are over QUIET_AFTER_S before its end.

    Kinds are dealt from a shuffled deck that holds each as often as its share, so a run of some minutes meets
    all of them. Most follow one another at a pace of `pace_s`, every fourth while the one before is still
    going on; half of the MEASURED stand alone. No process is struck while a fault of its own lasts;
    everything else may coincide.
    """
    draw = random.Random(f"chaos/{seed}")
    deck: list[str] = []
    chosen = [kind for kind in KINDS if kind in set(kinds) and KINDS[kind].share]
    backlog = _backlog(draw, duration_s) if "backlog" in set(kinds) else []
    faults: list[Fault] = []
    free_s: dict[str, float] = {}
    at_s = QUIET_BEFORE_S
    while at_s < duration_s - QUIET_AFTER_S:
        deck = deck or _deck(draw, chosen)
        kind = deck.pop()
        alone = kind in MEASURED and draw.random() < 0.5
        if alone:
            at_s = max(
                at_s, round(max((one.at_s + one.for_s for one in faults), default=0.0) + ALONE_BEFORE_S, 1)
            )
        fault = _dealt(draw, kind, at_s, free_s)
        if fault.at_s + fault.for_s > duration_s - QUIET_AFTER_S:
            at_s += 1.0
            continue
        faults.append(fault)
        free_s[fault.target] = fault.at_s + fault.for_s + RECOVERY_S
        together = draw.random() < 0.25
        pause_s = draw.uniform(0.5, 3.0) if together else draw.uniform(*pace_s)
        at_s = round(fault.at_s + (fault.for_s + ALONE_AFTER_S if alone else pause_s), 1)
    return sorted([*faults, *backlog], key=lambda one: (one.at_s, one.kind))


def _deck(draw: random.Random, kinds: Sequence[str]) -> list[str]:
    deck = [kind for kind in kinds for _ in range(KINDS[kind].share)]
    draw.shuffle(deck)
    return deck


def _dealt(draw: random.Random, kind: str, at_s: float, free_s: dict[str, float]) -> Fault:
    target = min(
        draw.sample(KINDS[kind].targets, len(KINDS[kind].targets)),
        key=lambda name: max(free_s.get(name, 0.0), at_s),
    )
    return Fault(
        round(max(at_s, free_s.get(target, 0.0)), 1), kind, target, round(draw.uniform(*KINDS[kind].for_s), 1)
    )


def _backlog(draw: random.Random, duration_s: float) -> list[Fault]:
    return [Fault(round(duration_s * draw.uniform(0.1, 0.4), 1), "backlog", DEVICE, 0.0)]
