"""Common parts of all questions of `sightline ask`: options, asking, and printing answers."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Generic, Literal, TypeVar, get_args

import click
from msgspec import Struct

from streams import limits
from streams.cli import graph
from streams.cli.output import (
    Stores,
    emit_facts,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_table,
    json_option,
    role_option,
    stating,
    stores_option,
)
from streams.printing import say, say_tree
from streams.queries.answers import Answer, Bounded, ReachedRow
from streams.queries.audit import asked_as
from streams.queries.moments import look_back
from streams.queries.role import Role
from streams.queries.store import Store

AnswerT = TypeVar("AnswerT", bound=Answer)
Form = Literal["table", "json"]
Drawn = Literal["table", "json", "dot", "mermaid"]
MODELS = ("id", "examples", "wearers", "whose", "accuracy", "zone", "trained")
#: Options of all questions that do not belong to the question itself.
_HOW = frozenset({"stores", "role", "form", "as_json"})
#: One line for every question, grouped by topic.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "One event": {
        "why": "why it is in its zone, by which rule; why it was refused",
        "decisions": "what was decided about it at each sink, and by what",
        "genuine": "whether an agent wrote a record",
        "ancestors": "what it was made of, hop by hop",
        "descendants": "what was made of it, hop by hop",
        "reached": "whether it reached another event, and on which way",
        "loop": "where the loop carried it: feedback, examples, models",
    },
    "A wearer or a model": {
        "wearer": "what is held of her, where it went, what was refused",
        "reach": "how far her data, or a model version, reached",
        "card": "what a model version is, what it was made of, how it was judged",
        "withdraw": "what would stop if she withdrew (--what-if)",
    },
    "The whole store": {
        "find": "ids by wearer, zone, kind, subject and time",
        "crossings": "what went from which zone into which sink, over time",
        "changes": "what came between two times",
        "completeness": "of which share of outputs every parent is stored",
        "io-coverage": "of which share of reads and writes of data lineage is recorded",
        "missing": "which numbers of captured streams never came",
        "superseded": "what late samples replaced, and which answers relied on it",
        "creep": "how labels change round the loop",
        "usage": "how many answers were given, and what people said of them",
        "reads": "who read what of which restricted zone",
    },
}


class Questions(click.Group):
    """Lists questions grouped by topic."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write a section for each group."""
        for heading, lines in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl(list(lines.items()))


def asking(*, drawn: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of every question, which receives stores, role and form; `drawn`: it can be drawn."""
    pictures = "; dot and mermaid are text that Graphviz and Markdown draw" if drawn else ""
    form_option = click.option(
        "--format",
        "form",
        type=click.Choice(get_args(Drawn if drawn else Form)),
        default="table",
        show_default=True,
        help=f"How to answer{pictures}.",
    )

    past_option = click.option(
        "--as-of",
        default="",
        metavar="TIME|EPOCH",
        help="Answer as the store was then, under today's roles; the newest epoch if left out.",
    )

    def options(question: Callable[..., None]) -> Callable[..., None]:
        @wraps(question)
        def answered(*about: Any, as_json: bool, as_of: str, form: Drawn, **given: Any) -> None:  # noqa: ARG001 - `asked` takes it from the context
            question(*about, form="json" if as_json else form, **given)

        return stores_option(role_option(past_option(form_option(json_option(answered)))))

    return options


class Shown(Struct, Generic[AnswerT], frozen=True):
    """An answer, the role that it is for, how much is hidden from that role (in bands), and the epochs.

    These are the open epochs by directory of the store.
    """

    answer: AnswerT
    role: str
    hidden: Mapping[str, str]
    epochs: Mapping[str, int]


def asked(
    stores: Stores, role: Role, question: Callable[[Store], AnswerT], *, group: str = "ask "
) -> Shown[AnswerT]:
    """Answer a question under a role; `group` stands before the question's name on the command line.

    Reads of restricted zones are recorded before anything is printed.
    """
    with Store.open(stores, role) as opened:
        look_back(opened, click.get_current_context().params.get("as_of", ""), "--as-of")
        answer = question(opened)
        emit_left_out(opened.left_out)
        opened.record(group + _question())
        return Shown(answer, str(role), opened.hidden, opened.epochs)


def _question() -> str:
    """The question for the audit log: its arguments, and the options that belong to it."""
    context = click.get_current_context()
    words, options = [context.info_name or ""], dict[str, object]()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif parameter.name not in _HOW and value != parameter.default:
            options[parameter.opts[0]] = value
    return asked_as(" ".join(words), options)


def say_answer(
    shown: Shown[AnswerT],
    form: Drawn,
    tables: dict[str, Sequence[str]],
    draw: Callable[[AnswerT], graph.Graph] | None = None,
    walk: str = "",
    *,
    cut: str = "",
    then: Sequence[str] = (),
) -> None:
    """Print an answer: facts first, then nested answers, then a table for each list.

    `tables` has the columns of each table; `draw` makes a graph of the answer. The list `walk` is shown as a
    tree at a terminal, and as a table elsewhere. Texts of the column `cut` take one short line in a table,
    and are whole in JSON. The lines of `then` follow the tables.
    """
    plain = stating(shown.answer.to_dict(), shown.epochs)
    if form == "json":
        emit_json({**plain, "role": shown.role, "hidden": shown.hidden})
        return
    emit_hidden(shown.role, shown.hidden)
    if draw is not None and form != "table":
        (graph.emit_dot if form == "dot" else graph.emit_mermaid)(draw(shown.answer))
        return
    facts = {
        name: value for name, value in plain.items() if name not in tables and not name.endswith("_more")
    }
    groups = {
        name: value
        for name, value in facts.items()
        if isinstance(value, dict) and name not in ("offsets", "epochs")
    }
    emit_facts({name: value for name, value in facts.items() if name not in groups})
    for name, group in groups.items():
        if group:
            say()
            say(name.replace("_", " "))
            emit_facts(group)
    for name, columns in tables.items():
        rows = plain.get(name)
        if rows and isinstance(rows, Sequence):
            say()
            say(name.replace("_", " "))
            if name != walk or not _show_tree(str(plain["id"]), getattr(shown.answer, name)):
                emit_table(columns, [[_cell(row, column, cut) for column in columns] for row in rows])
            if more := plain.get(f"{name}_more"):
                say(f"and {more:,} more; `sightline sql` can list them")
    for line in ("", *then) if then else ():
        say(line)


def _cell(row: Mapping[str, Any], column: str, cut: str) -> Any:
    if column != cut:
        return row.get(column)
    return textwrap.shorten(row[column], limits.TABLE_TEXT_CHARACTERS, placeholder=" …")


def _show_tree(start: str, rows: Bounded[ReachedRow]) -> bool:
    """Show a walk as a tree where that can be read: at a terminal, and not too deep for a line."""
    if not sys.stdout.isatty() or max(row.hop for row in rows) > limits.TREE_HOPS_MAX:
        return False
    # Only who sits at a terminal waits for it to be imported.
    from streams.cli import tree  # noqa: PLC0415

    say_tree(tree.walked(start, rows))
    return True
