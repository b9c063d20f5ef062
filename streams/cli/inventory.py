"""`sightline inventory`: what holds data and where it flows, declared against observed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from streams import settings
from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.cli.requirement import policy_option
from streams.policy.load import load
from streams.queries.declared import System
from streams.queries.inventory import inventory
from streams.queries.role import Role

_FLOW = ("of", "how", "to", "by", "zones", "events", "latest")
#: Columns of each list, in the order in which they are printed.
TABLES: dict[str, Sequence[str]] = {
    "undeclared": (*_FLOW, "reason"),
    "unlabelled": ("thing", "name", "why"),
    "flows": ("standing", *_FLOW, "stopped", "reason"),
    "kinds": (
        "kind",
        "origin",
        "schema",
        "digest",
        "columns",
        "categories",
        "nature",
        "sensitivity",
        "owner",
        "topics",
        "retention_days",
        "streams",
        "events",
        "last_seen",
    ),
    "columns": ("kind", "column", "type", "unit", "packed", "categories"),
    "streams": (
        "kind",
        "stream",
        "topic",
        "devices",
        "events",
        "zones",
        "policies",
        "unlabelled",
        "last_seen",
    ),
    "zones": ("zone", "rank", "mode", "owner", "restricted", "retention_days", "events", "last_seen"),
    "topics": ("topic", "key", "written_by", "read_by", "retention_days", "kinds", "events", "last_seen"),
    "tables": ("table", "columns", "shown_to", "rows", "bytes", "says"),
    "models": (
        "model",
        "zone",
        "sensitivity",
        "examples",
        "wearers",
        "accuracy",
        "bytes",
        "trained",
        "retrain_by",
    ),
    "files": ("file", "files", "bytes", "last_seen", "retention", "holds"),
    "words": ("word", "list", "term", "exact", "sensitivity", "says"),
}


packages_option = click.option(
    "--extend",
    "packages",
    multiple=True,
    default=tuple(settings.EXTEND),
    metavar="PACKAGE",
    help="A package with kinds and operators of your own, by the name that `import` takes.",
)


@click.command("inventory")
@policy_option
@packages_option
@asking()
def command(policy: str, packages: tuple[str, ...], stores: Stores, role: Role, form: Form) -> None:
    """List what holds data and where it flows: declared against observed, what is undeclared first.

    Streams, kinds, columns, zones, topics, tables, models, files, and what each word of the policy is in the
    W3C's Data Privacy Vocabulary.
    """
    system = System.extended(packages)
    draft = load(policy, kinds=system.kinds) if policy else None
    say_answer(asked(stores, role, lambda opened: inventory(opened, draft, system), group=""), form, TABLES)
