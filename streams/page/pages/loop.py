"""The loop of the whole store, a row for each generation."""

from __future__ import annotations

from collections.abc import Mapping

from streams.page.drawing.loop import Turns, drawn_loop
from streams.page.drawing.series import drawn_series
from streams.page.pictures.turns import accuracy_series, loop_turns, run_checks
from streams.page.showing import (
    Block,
    Cell,
    Drawing,
    Notice,
    Shown,
    Table,
    event,
    moment,
    number,
    table,
    zone,
)
from streams.page.viewing import Asked
from streams.queries.creep import Creep
from streams.queries.review import Queue
from streams.queries.usage import Usage, UsageBy

#: What answers are counted by, and what the page calls it.
_USED_BY: Mapping[UsageBy, str] = {"version": "generation", "zone": "zone", "wearer": "wearer"}


def page(asked: Asked) -> Shown:
    """Show what each model learned from, what it answered, its accuracy, and how labels change meanwhile."""
    creep = asked.store.creep()
    turns = loop_turns(asked.store, creep, asked.links)
    queue = asked.store.review_queue()
    used = [asked.store.usage(by) for by in _USED_BY]
    blocks: list[Block] = [
        *([Notice(turns.cut)] if turns.cut else []),
        Drawing("loop", "By generation", drawn_loop(turns, asked.looks)),
        generation_table(turns),
        fed_table(asked, turns),
        checks_table(asked),
        Drawing("accuracy", "Accuracy", drawn_series(accuracy_series(turns, asked.links))),
        *(usage_table(each) for each in used),
        review_table(asked, queue),
        creep_table(creep),
    ]
    return Shown(
        title="The loop",
        blocks=tuple(blocks),
        plain={
            "generations": [
                {
                    "model": turn.title,
                    "zone": turn.zone,
                    "examples_added": turn.examples,
                    "learned_from": [{"of": each.of, "examples": each.examples} for each in turn.fed],
                    "answers": turn.answers,
                    "accuracy": turn.accuracy,
                    "purposes_permitted": turn.purposes,
                    "declined": turn.declined,
                }
                for turn in turns.turns
            ],
            "cut": turns.cut,
            "checks": run_checks(asked.store),
            "review": queue.to_dict()["answers"],
            "usage": {each.by: each.to_dict()["usage"] for each in used},
            "labels": creep.to_dict(),
        },
    )


def generation_table(turns: Turns) -> Table:
    """Return the generations of a loop as a table."""
    return table(
        "generations",
        "Generations",
        ("model", "zone", "examples added", "answers", "accuracy", "purposes permitted", "declined"),
        turns.turns,
        lambda turn: (
            Cell(turn.title, turn.href, "id"),
            zone(turn.zone),
            number(turn.examples, turn.examples_href),
            number(turn.answers, turn.answers_href),
            number(turn.accuracy),
            number(turn.purposes),
            Cell(turn.declined),
        ),
        none="There is no model that this role is shown.",
    )


def fed_table(asked: Asked, turns: Turns) -> Table:
    """Return what each generation of a loop learned from as a table."""
    links = asked.links
    return table(
        "fed",
        "What each learned from",
        ("model", "examples", "made on the answers of"),
        [(turn.title, each) for turn in turns.turns for each in turn.fed],
        lambda row: (
            event(row[0], links),
            number(row[1].examples, row[1].href),
            event(row[1].of, links) if row[1].of else Cell("nobody: the seed, or not shown"),
        ),
    )


def checks_table(asked: Asked) -> Table:
    """Return what training runs held, left out or let count less as a table."""
    return table(
        "examined",
        "What was held, left out or counts less",
        ("version", "check", "about", "examples", "of", "%", "bound, %", "outcome"),
        run_checks(asked.store),
        lambda row: (
            number(row["version"]),
            Cell(row["name"]),
            Cell(row["subject"]),
            number(row["examples"]),
            number(row["judged"]),
            number(row["percent"]),
            number(row["percent_max"]),
            Cell(row["outcome"]),
        ),
        none="All checks of training runs passed, as far as this role is shown.",
    )


def usage_table(usage: Usage) -> Table:
    """Return how many answers were given, and what people said of them, as a table."""
    of = _USED_BY[usage.by]
    return table(
        f"usage-{usage.by}",
        f"Answers and what people said of them, by {of}",
        (
            of,
            "answers",
            "feedback",
            "confirmed",
            "corrected",
            "denied",
            "unclear",
            "right, %",
            "right in shadow, %",
        ),
        usage.usage.rows,
        lambda row: (
            Cell(row.of),
            number(row.answers),
            number(row.feedback),
            number(row.confirmed),
            number(row.corrected),
            number(row.denied),
            number(row.unclear),
            number(row.right_percent),
            number(row.shadow_right_percent),
        ),
        more=usage.usage.more,
        none="No answer was given that this role is shown.",
    )


def review_table(asked: Asked, queue: Queue) -> Table:
    """Return the answers that a person should look at as a table: no words, and no verdicts."""
    return table(
        "review",
        "What a person should look at",
        ("answer", "why", "state", "zone", "asked"),
        queue.answers.rows,
        lambda row: (
            event(row.id, asked.links),
            Cell(row.why),
            Cell(row.state),
            zone(row.zone),
            moment(row.asked),
        ),
        more=queue.answers.more,
        none="There is no answer that somebody should look at, as far as this role is shown.",
    )


def creep_table(creep: Creep) -> Table:
    """Return how labels change round the loop as a table."""
    return table(
        "creep",
        "How labels change round the loop",
        ("generation", "kind", "events", "different labels", "purposes on average", "purposes at least"),
        creep.creep.rows,
        lambda row: (
            number(row.generation),
            Cell(row.hop),
            number(row.events),
            number(row.distinct_labels),
            number(row.mean_purposes),
            number(row.fewest_purposes),
        ),
        more=creep.creep.more,
    )
