"""How soon a withdrawal was heeded, as a store has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from streams.cli.output import emit_left_out
from streams.consent.history import ConsentHistory, TakenAway, taken_away
from streams.consent.record import consents_of
from streams.consent.words import Word
from streams.queries.heeded import PassedAfter, TakenUp, passed_after, take_ups
from streams.queries.role import Role
from streams.queries.store import Store


class Heeded(Struct, frozen=True, kw_only=True):
    """How a withdrawal was heeded, as a store has it; times are the broker's.

    `taken_up_ns` is when the first partition beside the wearer's own took the word up, `by_all_ns` when the
    last of them did, `partitions` how many; None if the role is not shown it. `passed` is what still passed
    by the consent of before.
    """

    taken_up_ns: int | None
    by_all_ns: int | None
    partitions: int | None
    passed: PassedAfter


def heeded_of(path: Path | None, role: Role, wearer: str, history: ConsentHistory) -> list[Heeded]:
    """How each withdrawal was heeded, as a store has it; nothing without one."""
    if path is None:
        return []
    with Store.open((path,), role) as store:
        taken_up = take_ups(store, wearer)
        heeded = [
            heeding(
                taken_up,
                passed_after(store, wearer, each.devices, each.purposes, each.at_ns, each.again_ns),
                wearer,
                each,
            )
            for each in taken_away(history)
        ]
        emit_left_out(store.left_out)
        store.record(f"rights consent --wearer {wearer}")
    return heeded


def heeding(taken_up: Sequence[TakenUp] | None, passed: PassedAfter, wearer: str, taken: TakenAway) -> Heeded:
    """How a withdrawal was heeded: the take-ups of its word, and what still passed."""
    if taken_up is None:
        return Heeded(taken_up_ns=None, by_all_ns=None, partitions=None, passed=passed)
    heard = [
        row
        for row in taken_up
        for by, statement in consents_of(row.value)
        if by == wearer and isinstance(statement, Word) and statement.at_ns == taken.at_ns
    ]
    first_ns: dict[tuple[str, int], int] = {}
    for row in heard:
        place = (row.agent, row.partition)
        first_ns[place] = min(row.t_ns, first_ns.get(place, row.t_ns))
    return Heeded(
        taken_up_ns=min(first_ns.values(), default=0),
        by_all_ns=max(first_ns.values(), default=0),
        partitions=len(first_ns),
        passed=passed,
    )
