"""Questions of `sightline ask` about the whole store, and what was decided about an event."""

from __future__ import annotations

from collections.abc import Callable

import click

from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.queries.changes import changes as changes_between
from streams.queries.completeness import completeness as completeness_of
from streams.queries.crossings import SPANS_NS
from streams.queries.crossings import crossings as crossed
from streams.queries.decided import decided
from streams.queries.find import Wanted
from streams.queries.find import find as find_in
from streams.queries.io_coverage import io_coverage as io_coverage_of
from streams.queries.moments import moments_at
from streams.queries.reads import reads as reads_of
from streams.queries.role import Role
from streams.queries.spread import Window, time_ns


def _window_options(question: Callable[..., None]) -> Callable[..., None]:
    since = click.option("--since", default="", metavar="TIME", help="From this time on (RFC 3339).")
    until = click.option("--until", default="", metavar="TIME", help="Up to this time (RFC 3339).")
    return since(until(question))


@click.command()
@click.argument("identity", metavar="ID")
@asking()
def decisions(identity: str, stores: Stores, role: Role, form: Form) -> None:
    """Say what was decided about event ID at each sink, by which rule of which policy then in force."""
    say_answer(
        asked(stores, role, lambda opened: decided(opened, identity)),
        form,
        {
            "decisions": (
                "t",
                "sink",
                "purpose",
                "verdict",
                "passed",
                "rule",
                "policy_version",
                "attributes",
            ),
            "rejected": ("stage", "outcome", "rule", "reason", "zone", "t"),
        },
    )


@click.command()
@click.option("--wearer", default="", help="Of this wearer.")
@click.option("--zone", default="", help="In this zone.")
@click.option("--kind", default="", help="Of this kind, such as imu.")
@click.option("--subject", default="", help="About this class of people: wearer, bystander or minor.")
@_window_options
@asking()
def find(
    wearer: str,
    zone: str,
    kind: str,
    subject: str,
    since: str,
    until: str,
    stores: Stores,
    role: Role,
    form: Form,
) -> None:
    """List ids of events by wearer, zone, kind, whom they are about, and time of capture.

    Data about bystanders is in other zones too: --subject finds it there.
    """
    wanted = Wanted(wearer, zone, kind, subject, Window.of(since, until, "--"))
    say_answer(
        asked(stores, role, lambda opened: find_in(opened, wanted)),
        form,
        {"runs": ("id", "events", "kind", "zone", "wearer", "since", "until")},
    )


@click.command()
@click.option("--zone", default="", help="From this zone alone.")
@click.option("--sink", default="", help="Into this sink alone.")
@click.option("--every", type=click.Choice(list(SPANS_NS)), default="hour", show_default=True)
@click.option("--refused", is_flag=True, help="Only what was kept from it.")
@_window_options
@asking()
def crossings(
    zone: str,
    sink: str,
    every: str,
    since: str,
    until: str,
    stores: Stores,
    role: Role,
    form: Form,
    *,
    refused: bool,
) -> None:
    """Say what went from which zone into which sink, and what was kept from it, over time.

    The time is that of the decision, by the broker's clock. An event counts once at each sink.
    """
    window = Window.of(since, until, "--")
    say_answer(
        asked(
            stores,
            role,
            lambda opened: crossed(
                opened, zone=zone, sink=sink, window=window, every_ns=SPANS_NS[every], refused=refused
            ),
        ),
        form,
        {"crossings": ("t", "zone", "sink", "purpose", "verdict", "passed", "wearers", "events")},
    )


@click.command()
@click.argument("after", metavar="FROM")
@click.argument("upto", metavar="TO")
@asking()
def changes(after: str, upto: str, stores: Stores, role: Role, form: Form) -> None:
    """Say what came into the store between two times, or epochs by their numbers."""
    say_answer(
        asked(
            stores,
            role,
            lambda opened: changes_between(
                opened, moments_at(opened, after, "FROM"), moments_at(opened, upto, "TO")
            ),
        ),
        form,
        {
            "events": ("kind", "zone", "wearers", "events"),
            "decisions": ("sink", "purpose", "verdict", "passed", "events"),
            "refusals": ("stage", "outcome", "rule", "batches", "events"),
            "models": ("id", "examples", "wearers", "accuracy", "zone", "trained"),
            "policies": ("version", "name", "epoch"),
            "streams": ("source", "stream", "kind", "epoch"),
        },
    )


@click.command()
@asking()
def completeness(stores: Stores, role: Role, form: Form) -> None:
    """Say of which share of outputs every parent is stored, and name those of which one is not."""
    say_answer(
        asked(stores, role, completeness_of),
        form,
        {"streams": ("source", "stream", "kind", "outputs", "resolved", "first_unresolved")},
    )


@click.command()
@asking()
def io_coverage(stores: Stores, role: Role, form: Form) -> None:
    """Say of which share of operations on data of events lineage is recorded, and of which it is not."""
    say_answer(
        asked(stores, role, io_coverage_of),
        form,
        {"operations": ("operation", "linked", "recorded_in", "sites", "observed", "reason")},
    )


@click.command()
@click.option("--zone", default="", help="Reads of this zone alone.")
@click.option("--user", default="", help="Reads by this user alone.")
@click.option("--since", default="", metavar="TIME", help="From this time on (RFC 3339).")
@asking()
def reads(zone: str, user: str, since: str, stores: Stores, role: Role, form: Form) -> None:
    """Say who read what of which restricted zone, and who exported data; for the privacy officer.

    A question is listed with every zone that its statement could read. Who read topics, or files of the store
    without Sightline, is not in it.
    """
    since_ns = time_ns(since, "--since") if since else 0
    say_answer(
        asked(stores, role, lambda opened: reads_of(opened, zone=zone, user=user, since_ns=since_ns)),
        form,
        {
            "by_zone": ("zone", "role", "user", "reads", "since", "until"),
            "latest": ("t", "role", "user", "zones", "exported", "question"),
        },
        cut="question",
        then=["zones: those that a question could read, whatever it then showed"],
    )


LOOKING = (decisions, find, crossings, changes, completeness, io_coverage, reads)
