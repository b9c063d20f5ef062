"""The loop by generation, and how far the data of each wearer reached."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from streams import limits
from streams.page.drawing.loop import drawn_loop
from streams.page.drawing.series import drawn_series
from streams.page.pages.loop import checks_table, creep_table, fed_table, generation_table
from streams.page.pictures.turns import accuracy_series, loop_turns, purposes_series
from streams.page.report.reporting import Reporting
from streams.page.showing import Block, Cell, Drawing, Notice, Section, number, table
from streams.queries.reach import Reach


class _Reached(Struct, frozen=True):
    """A wearer, how many events are held of her, and how far they reached."""

    wearer: str
    events: int
    reach: Reach


def loop(reporting: Reporting) -> Section:
    """Return the section about the loop: the newest generations drawn, all of them in curves and tables."""
    asked = reporting.asked
    creep = asked.store.creep()
    turns = loop_turns(asked.store, creep, asked.links)
    drawn = turns.turns[-limits.REPORT_GENERATIONS_MAX :]
    before = len(turns.turns) - len(drawn)
    left_out = f"The {before:,} generations before these are not drawn; the table below has them."
    blocks: list[Block] = [
        *([Notice(turns.cut)] if turns.cut else []),
        Drawing("loop", "By generation", drawn_loop(replace(turns, turns=drawn), asked.looks))
        if not before
        else Drawing(
            "loop",
            "By generation, the newest",
            drawn_loop(replace(turns, turns=drawn, cut=""), asked.looks),
            left_out,
        ),
        Drawing("accuracy", "Accuracy", drawn_series(accuracy_series(turns, asked.links))),
        Drawing(
            "purposes", "What labels of answers permit", drawn_series(purposes_series(turns, asked.links))
        ),
        generation_table(turns),
        fed_table(asked, turns),
        checks_table(asked),
        creep_table(creep),
    ]
    return Section("turning", "The loop, by generation", tuple(blocks))


def wearers(reporting: Reporting) -> Section:
    """Return the section about wearers' reach in counts, of those with the most events."""
    held: dict[str, int] = {}
    for row in reporting.rows("held"):
        if row["wearer"]:
            held[row["wearer"]] = held.get(row["wearer"], 0) + row["events"]
    most = sorted(held.items(), key=lambda each: (-each[1], each[0]))
    reached = [
        _Reached(name, events, reporting.asked.store.reach(name))
        for name, events in most[: limits.REPORT_WEARERS_MAX]
    ]
    rows = table(
        "reach",
        "In counts",
        (
            "wearer",
            "events",
            "derived",
            "examples",
            "models",
            "answers of these",
            "examples of others on them",
            "models of those",
        ),
        reached,
        lambda row: (
            Cell(row.wearer),
            number(row.events),
            number(sum(row.reach.derived.values())),
            number(row.reach.examples),
            number(len(row.reach.models) + row.reach.models.more),
            number(row.reach.answers),
            number(row.reach.second_examples),
            number(len(row.reach.second_models) + row.reach.second_models.more),
        ),
        more=len(most) - len(reached),
        none="There is no wearer of whom this role is shown anything.",
    )
    stopped = sorted({sentence for row in reached for sentence in row.reach.stopped})
    blocks: list[Block] = [rows, *(Notice(sentence) for sentence in stopped)]
    return Section("wearers", "How far the wearers' data reached", tuple(blocks))
