"""Whether anything was where it should not be, and whether everything is accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct

from streams.errors import InputError
from streams.page.pages.zones import decided_table
from streams.page.report.reporting import Reporting
from streams.page.showing import Block, Cell, Notice, Section, Table
from streams.queries.asking import OpenStore

#: Rows about what was held back on the first page; the section on refusals has the rest.
_HELD_BACK = 6


class Check(Struct, frozen=True, kw_only=True):
    """Something that must not be: how often it was, and of how much; what is not checked says why.

    `count` is None where nothing was checked, and text where only a band of it may be told. `misplaced`: data
    was where it should not be; otherwise something is not accounted for. `section` says more.
    """

    words: str
    count: int | str | None
    of: str
    section: str
    misplaced: bool = False

    @property
    def wrong(self) -> bool:
        """Whether it was."""
        return self.count not in (0, None)

    @property
    def result(self) -> str:
        """Its count in words."""
        if self.count is None:
            return "not checked"
        if self.count == 0:
            return "none"
        return f"{self.count:,}" if isinstance(self.count, int) else self.count


def checks_of(reporting: Reporting) -> list[Check]:
    """Ask the store for everything that must not be."""
    return [*_misplaced(reporting), *_accounted(reporting.asked.store), _compared(reporting)]


def standing(reporting: Reporting, checks: Sequence[Check]) -> Section:
    """Return the section that answers whether anything was where it should not be."""
    held_back = [row for row in reporting.rows("crossed_rules") if not row["passed"]]
    held_back.sort(key=lambda row: -row["events"])
    blocks: list[Block] = [
        *_verdict(checks, str(reporting.asked.role)),
        *_not_judged(reporting),
        _table(checks),
        decided_table(reporting.asked, held_back, "What the policy held back, the most first", "held-back"),
    ]
    shown = blocks[-1]
    if isinstance(shown, Table) and len(shown.rows) > _HELD_BACK:
        more = shown.more + len(shown.rows) - _HELD_BACK
        blocks[-1] = Table(
            shown.name, shown.heading, shown.columns, shown.rows[:_HELD_BACK], more, shown.none
        )
    return Section("standing", "Was anything where it should not be?", tuple(blocks))


def _misplaced(reporting: Reporting) -> Iterator[Check]:
    passed, totals = reporting.rows("passed")[0], reporting.rows("totals")[0]
    decided, stored = passed["decided"], totals["captured"] + totals["derived"]
    yield Check(
        words="refused by a rule, and passed all the same, because its zone only logs",
        count=passed["passed_refused"] if decided else None,
        of=f"{decided:,} decided events, counted at each of {passed['sinks']:,} sinks",
        section="crossings",
        misplaced=True,
    )
    try:
        requirements = reporting.asked.store.requirements()
    except InputError:
        # Then no policy decided about anything that the role is shown.
        count, of = None, "no policy decided about what this role is shown"
    else:
        count = sum(row.violations for row in requirements.requirements)
        of = f"{len(requirements.requirements) + requirements.requirements.more:,} requirements of the policy"
    yield Check(
        words="passed although a requirement of the policy forbids it",
        count=count,
        of=of,
        section="rules",
        misplaced=True,
    )
    yield Check(
        words="stored without a zone or without a label",
        count=totals["unlabelled"] if stored else None,
        of=f"{stored:,} stored events",
        section="ran",
        misplaced=True,
    )


def _accounted(store: OpenStore) -> Iterator[Check]:
    missing, complete = store.missing(), store.completeness()
    streams = len(missing.streams) + missing.streams.more
    in_part = len(missing.not_shown_whole) + missing.not_shown_whole.more
    yield Check(
        words="numbers of captured streams that never arrived",
        count=missing.missing_events,
        of=f"{streams:,} captured streams"
        + (f"; {in_part:,} more are shown in part, and not judged" if in_part else ""),
        section="integrity",
    )
    lost = missing.lost_records
    yield Check(
        words="records that were removed from a topic before they were read",
        count=0 if lost is UNSET else lost,
        of="every topic that was read",
        section="integrity",
    )
    yield Check(
        words="derived events of which a parent is not in the store",
        count=complete.outputs - complete.resolved,
        of=f"{complete.outputs:,} derived events",
        section="integrity",
    )


def _compared(reporting: Reporting) -> Check:
    counted = reporting.counted
    return Check(
        words="differences between what devices sent and what is stored, as the ledger finds them",
        count=None if counted is None else counted.findings,
        of="the devices' journals" if counted else "no journals were given; --journal names them",
        section="integrity",
    )


def _verdict(checks: Sequence[Check], role: str) -> Iterator[Notice]:
    misplaced = [check for check in checks if check.misplaced and check.wrong]
    unaccounted = [check for check in checks if not check.misplaced and check.wrong]
    if misplaced:
        wrong = "; ".join(f"{check.result} events {check.words}" for check in misplaced)
        yield Notice(f"Yes: {wrong}.", "error")
    elif all(check.count is None for check in checks if check.misplaced):
        yield Notice(f"Nobody can say: {role} is shown nothing that a policy decided about.", "error")
    else:
        yield Notice(
            f"No. Of everything that {role} may take out of this store, nothing passed that a rule or a "
            "requirement of the policy refuses, and nothing lies there without a zone and a label."
        )
    if unaccounted:
        wrong = "; ".join(f"{check.result} {check.words}" for check in unaccounted)
        yield Notice(f"Not everything is accounted for: {wrong}.", "error")
    skipped = [f"{check.words}: {check.of}" for check in checks if check.count is None]
    if skipped:
        yield Notice(f"Not checked: {'; '.join(skipped)}.")


def _not_judged(reporting: Reporting) -> Iterator[Notice]:
    """Say how much the answer does not speak of, because the policies do not let it out of the store."""
    if hidden := reporting.asked.store.hidden:
        bands = ", ".join(f"{band} {name.replace('_', ' ')}" for name, band in hidden.items())
        yield Notice(
            f"Not judged, because the policies do not let {reporting.asked.role} take it out of the store: "
            f"{bands}. `sightline requirements` and `sightline page` judge what the role is shown there.",
            "hidden-by-policy",
        )


def _table(checks: Sequence[Check]) -> Table:
    return Table(
        "checks",
        "What must not be",
        ("what", "was there", "looked at"),
        tuple(
            (
                Cell(check.words, f"#{check.section}"),
                Cell(
                    check.result,
                    css="verdict deny"
                    if check.wrong
                    else "muted"
                    if check.count is None
                    else "verdict allow",
                ),
                Cell(check.of),
            )
            for check in checks
        ),
    )
