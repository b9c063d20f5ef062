"""How requirements stand, and whether the record itself is whole."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from streams.errors import InputError
from streams.page.pages.requirements import standing_table, violations_table
from streams.page.report.reporting import Counted, Reporting
from streams.page.showing import Block, Cell, Facts, Notice, Section, number, table
from streams.queries.missing import Missing
from streams.queries.role import band


def requirements(reporting: Reporting) -> Section:
    """Return the section about requirements, with what breaks those that are broken."""
    asked = reporting.asked
    blocks: list[Block] = []
    try:
        standing = asked.store.requirements()
    except InputError:
        blocks.append(Notice("No policy decided about anything that this role is shown."))
    else:
        blocks.append(standing_table(asked, standing))
        if standing.dropped:
            dropped = (("no longer in the policy", Cell(", ".join(standing.dropped))),)
            blocks.append(Facts("dropped", "", dropped))
        for place, line in enumerate(standing.requirements):
            if line.violations:
                single = asked.store.requirement(line.requirement)
                words = f"{single.requirement}: {single.about}"
                blocks.append(violations_table(asked, single, words, f"violations-{place}"))
    return Section("rules", "Requirements of the policy", tuple(blocks))


def integrity(reporting: Reporting) -> Section:
    """Return the section about what is missing, and whether lineage is complete."""
    blocks = (*_complete(reporting), *_missing(reporting.asked.store.missing()), *_covered(reporting))
    # Last, because only now it is known whether anything was hidden.
    return Section("integrity", "Is the record whole?", (*blocks, _ledger(reporting)))


def _complete(reporting: Reporting) -> Iterator[Block]:
    complete = reporting.asked.store.completeness()
    yield Facts(
        "complete",
        "Lineage",
        (
            ("outputs with every parent stored, %", number(complete.percent)),
            ("outputs", number(complete.outputs)),
            ("with every parent stored", number(complete.resolved)),
            ("without parents that this role is shown", Cell(str(complete.without_parents), css="number")),
        ),
    )
    broken = [row for row in complete.streams if row.resolved < row.outputs]
    if broken:
        yield table(
            "incomplete",
            "Streams with an event of which a parent is not stored",
            ("source", "stream", "kind", "outputs", "with every parent", "the first without"),
            broken,
            lambda row: (
                Cell(row.source),
                Cell(row.stream),
                Cell(row.kind),
                number(row.outputs),
                number(row.resolved),
                Cell("" if row.first_unresolved is UNSET else str(row.first_unresolved), css="id"),
            ),
        )


def _missing(missing: Missing) -> Iterator[Block]:
    lost = missing.lost_records
    yield Facts(
        "missing-facts",
        "What never arrived",
        (
            ("numbers of captured streams", number(missing.missing_events)),
            ("of them in batches that could not be read", number(missing.malformed_events)),
            ("lost records", number(0) if lost is UNSET else Cell(str(lost), css="number")),
        ),
    )
    if missing.missing.rows:
        yield table(
            "missing",
            "Missing numbers",
            ("source", "stream", "first", "numbers", "unreadable"),
            missing.missing.rows,
            lambda row: (
                Cell(row.source),
                Cell(row.stream),
                number(row.first),
                number(row.count),
                number(row.malformed),
            ),
            more=missing.missing.more,
        )
    if missing.collisions.rows:
        yield table(
            "collisions",
            "Other data under numbers that had arrived",
            ("source", "stream", "first", "numbers"),
            missing.collisions.rows,
            lambda row: (Cell(row.source), Cell(row.stream), number(row.first), number(row.count)),
            more=missing.collisions.more,
        )
    if missing.not_shown_whole.rows:
        count = len(missing.not_shown_whole) + missing.not_shown_whole.more
        yield Notice(
            f"{count:,} captured streams are shown in part, so nothing is said of their numbers.",
            "hidden-by-policy",
        )


def _covered(reporting: Reporting) -> Iterator[Block]:
    try:
        coverage = reporting.asked.store.io_coverage()
    except InputError:
        words = "An earlier version of Sightline published this epoch, and did not say what reads and writes."
        yield Notice(words)
        return
    yield Facts(
        "coverage",
        "Reads and writes of data of events",
        (
            ("whose lineage is recorded, %", number(coverage.percent)),
            ("operations", number(coverage.declared)),
            ("recorded", number(coverage.linked)),
        ),
    )
    yield table(
        "unrecorded",
        "Operations whose lineage is not recorded",
        ("operation", "of", "done by", "why not"),
        [row for row in coverage.operations if not row.linked],
        lambda row: (
            Cell(row.operation),
            Cell(row.asset),
            Cell(row.done_by),
            Cell("" if row.reason is UNSET else str(row.reason)),
        ),
    )


def _ledger(reporting: Reporting) -> Block:
    counted = reporting.counted
    if counted is None:
        return Notice(
            "The ledger: not checked. `--journal` names the devices' journals, to be compared with the store."
        )
    hidden = bool(reporting.asked.store.hidden)
    return Facts("ledger", "The ledger: journals against the store", _counts(counted, in_bands=hidden))


def _counts(counted: Counted, *, in_bands: bool) -> tuple[tuple[str, Cell], ...]:
    """Counts of the ledger, which sees everything; beside hidden data only bands of them are told."""

    def told(count: int) -> Cell:
        return Cell(band(count), css="number") if in_bands and count else number(count)

    verdict = Cell("clean", css="verdict allow") if counted.clean else Cell("not clean", css="verdict deny")
    return (
        ("result", verdict),
        ("findings", told(counted.findings)),
        ("events sent", told(counted.sent)),
        ("stored", told(counted.stored)),
        ("rejected", told(counted.rejected)),
        ("missing", told(counted.missing)),
        ("stored twice", told(counted.twice)),
        ("in another zone than the scenario says", told(counted.elsewhere)),
        ("parents that nobody knows", told(counted.unknown_parents)),
    )
