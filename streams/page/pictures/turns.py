"""The loop of a whole store, by generation: what each model learned from, and what it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from streams import limits
from streams.page.drawing.loop import Fed, Turn, Turns, counted
from streams.page.drawing.series import Point, Series
from streams.page.pictures.links import Links
from streams.page.pictures.statements import statement
from streams.queries.asking import OpenStore
from streams.queries.creep import Creep

_FED_COUNTS = (
    f"SELECT source, stream, version, of, count(*) AS examples FROM ({statement('fed')}) "  # noqa: S608 - ours
    "GROUP BY ALL ORDER BY ALL"
)


def loop_turns(store: OpenStore, creep: Creep, links: Links) -> Turns:
    """Return the loop of a store, as its role sees it, oldest generation first.

    `creep` is the store's answer to the question of that name.

    An example counts for the first generation that learned from it. At most PAGE_GENERATIONS_MAX generations
    are drawn, the oldest; `cut` then says so. Of examples whose answer the role is not shown, only their
    number is.
    """
    models = store.sql(statement("models")).to_dicts()
    cut = len(models) > limits.PAGE_GENERATIONS_MAX
    models = models[: limits.PAGE_GENERATIONS_MAX]
    fed: dict[str, list[Fed]] = {}
    for row in store.sql(_FED_COUNTS).to_dicts():
        learned, of = fed_by(row)
        href = links.event(f"{learned}/records", way="up", hop=1, of=of)
        fed.setdefault(learned, []).append(Fed(of=of, examples=row["examples"], href=href))
    declined = _declined(store)
    answers: Counter[int] = Counter()
    purposes: dict[int, float] = {}
    for cell in creep.creep:
        if cell.hop == "answer":
            answers[cell.generation] += cell.events
            purposes[cell.generation] = cell.mean_purposes
    return Turns(
        title="The loop, by generation",
        description=(
            f"{counted(len(models), 'generation')}, a row each: the examples that it added, its model, its "
            "answers. Lines on the left lead from the answers of a generation to the examples that later "
            "generations learned from. The table below says the same."
        ),
        turns=tuple(
            _turn(
                row,
                tuple(fed.get(row["id"], ())),
                answers[row["version"]],
                purposes,
                declined.get(row["version"], ""),
                links,
            )
            for row in models
        ),
        purposes_max=max((round(cell.mean_purposes) for cell in creep.creep), default=0),
        cut=f"cut after {limits.PAGE_GENERATIONS_MAX:,} generations: later ones are not drawn" if cut else "",
    )


def fed_by(row: Mapping[str, Any]) -> tuple[str, str]:
    """Ids of the model version that learned first, and of the one that had answered; of a row of `fed`.

    The second is empty if there was no answer, as for the seed, or it is not shown.
    """
    stream = f"{row['source']}/{row['stream']}"
    return f"{stream}/{row['version']}", "" if row["of"] is None else f"{stream}/{row['of']}"


def accuracy_series(turns: Turns, links: Links) -> Series:
    """Return the accuracy of each generation of a loop."""
    return Series(
        title="Accuracy by generation",
        description="How many utterances that were set aside each model version understood, as a share of 1.",
        measure="accuracy by generation",
        points=_points(turns, links, lambda turn: turn.accuracy, ".4f"),
        low=0,
        high=1,
    )


def purposes_series(turns: Turns, links: Links) -> Series:
    """Return how many purposes the labels of each generation's answers permit, on average."""
    return Series(
        title="Purposes permitted by generation",
        description="How many purposes the labels of each generation's answers permit, on average.",
        measure="purposes that labels of answers permit, on average",
        points=_points(turns, links, lambda turn: turn.purposes, ".4g"),
        low=0,
        high=turns.purposes_max,
    )


def _points(
    turns: Turns, links: Links, value_of: Callable[[Turn], float | None], form: str
) -> tuple[Point, ...]:
    """A point for each generation that has a value; `form` is how its tip shows it."""
    return tuple(
        Point(
            word=turn.title.rpartition("/")[2],
            value=value,
            tip=f"{turn.title}: {value:{form}}",
            href=links.event(turn.title),
        )
        for turn in turns.turns
        if (value := value_of(turn)) is not None
    )


def _declined(store: OpenStore) -> Mapping[int, str]:
    """Reason by version of the declined models; a store of before versions were compared has none."""
    return {row["version"]: row["reason"] for row in _rows(store, "declined", "promotions")}


def run_checks(store: OpenStore) -> list[dict[str, Any]]:
    """Checks of training runs that did not simply pass; a store of before there were any has none."""
    return _rows(store, "checks", "training_checks")


def _rows(store: OpenStore, name: str, view: str) -> list[dict[str, Any]]:
    """Rows of a statement over a view; none where the store is older than the view."""
    [known] = store.sql(f"SELECT count(*) AS views FROM duckdb_views() WHERE view_name = '{view}'").to_dicts()  # noqa: S608 - ours
    return store.sql(statement(name)).to_dicts() if known["views"] else []


def _turn(
    row: dict[str, Any],
    fed: tuple[Fed, ...],
    answers: int,
    purposes: dict[int, float],
    declined: str,
    links: Links,
) -> Turn:
    """A generation of the loop, from a row of `models`."""
    return Turn(
        key=row["id"],
        title=row["id"],
        href=links.event(row["id"]),
        zone=row["zone"],
        lines=(
            f"{row['examples']:,} in all, of {counted(row['wearers'], 'wearer')}",
            f"declined, {row['trained']}" if declined else row["trained"],
        ),
        fed=fed,
        examples=sum(each.examples for each in fed),
        examples_href=links.event(f"{row['id']}/records", way="up", hop=1),
        answers=answers,
        answers_href=links.event(f"{row['id']}/records", way="down", hop=1),
        accuracy=row["accuracy"],
        purposes=purposes.get(row["version"]),
        declined=declined,
    )
