"""`sightline rights due`: what may not be used any more from which day on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.queries.due import Due, due_keys
from streams.queries.due import due as due_in
from streams.queries.role import Role
from streams.queries.store import Store
from streams.sealing.key_store import KeyStore

_DUE: dict[str, Sequence[str]] = {
    "events": ("on", "zone", "retention_days", "events"),
    "models": ("on", "model"),
    "gone": ("on", "events"),
    "endless": ("policy", "rows", "events"),
    "keys": ("on", "keys"),
}


@click.command()
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Key store, to say also on which days its keys are destroyed.",
)
@asking()
def due(keys: Path | None, stores: Stores, role: Role, form: Form) -> None:
    """Say what may not be used any more after which day: events by zone, and model versions.

    It follows from the broker's time and the retention of the label, as every decision does.
    """

    def question(opened: Store) -> Due:
        answer = due_in(opened)
        if keys is None:
            return answer
        with contextlib.closing(KeyStore(keys)) as store:
            return replace(answer, keys=due_keys(store.due_days()))

    shown = asked(stores, role, question, group="rights ")
    say_answer(shown, form, _DUE, then=tuple(_of_endless(shown.answer)))


def _of_endless(answer: Due) -> Iterator[str]:
    """What to do about rows without an end."""
    if any(row.policy for row in answer.endless):
        yield (
            "endless: the store has no text of these policies, or it says nothing of the label, so retention "
            "never takes these rows out, and no role is shown them. Put the policy in force once more "
            "(`sightline policy publish`), so that the store takes in its text; if nobody has it, find out "
            "who wrote to glasses.lineage, and make the store again without that"
        )
    if any(not row.policy for row in answer.endless):
        yield "endless without a policy: nobody could read what was refused; there is its place and no value"
