"""How the requirements of the policy stand: all in a row each, and each on a page of its own."""

from __future__ import annotations

from msgspec import UnsetType

from streams.page.showing import Block, Cell, Facts, Shown, Table, event, moment, number, table, zone
from streams.page.viewing import Asked
from streams.queries.requirement import Required, Requirements


def page(asked: Asked) -> Shown:
    """Show all requirements, the most violated first."""
    standing = asked.store.requirements()
    dropped = ", ".join(standing.dropped)
    facts = Facts("dropped", "", (("no longer in the policy", Cell(dropped)),) if dropped else ())
    rows = standing_table(asked, standing)
    blocks: tuple[Block, ...] = (rows, facts) if dropped else (rows,)
    return Shown(title="Requirements", blocks=blocks, plain=standing.to_dict())


def standing_table(asked: Asked, standing: Requirements) -> Table:
    """Return all requirements of a policy as a table."""
    return table(
        "requirements",
        standing.policy,
        (
            "requirement",
            "owner",
            "concerned",
            "enforced, %",
            "a day before, %",
            "violations",
            "last day",
            "changed",
        ),
        standing.requirements.rows,
        lambda row: (
            Cell(row.requirement, asked.links.to(f"/requirement/{row.requirement}")),
            _word(row.owner),
            number(row.concerned),
            _share(row.enforced_percent),
            _share(row.enforced_percent_before),
            number(row.violations),
            number(row.violations_last_day),
            Cell(row.changed),
        ),
        more=standing.requirements.more,
        none="This policy has none.",
    )


def single(asked: Asked) -> Shown:
    """Show one requirement: what it concerns, where it is enforced, what breaks it."""
    standing = asked.store.requirement(asked.path["name"])
    percent = standing.percent
    pairs = {
        "says": Cell(standing.about),
        "when": Cell(standing.when),
        "require": Cell(standing.require),
        "owner": _word(standing.owner),
        "proof": _word(standing.proof),
        "policy": Cell(standing.policy, css="id"),
        "concerned": number(standing.concerned),
        "stopped": number(standing.stopped),
        "violations": number(standing.violations),
        "violations in the last day": number(standing.violations_last_day),
        "not judged": number(standing.not_judged),
        "enforced, %": _share(percent.enforced),
        "logged, %": _share(percent.logged),
        "not checked, %": _share(percent.not_checked),
    }
    blocks: tuple[Block, ...] = (
        Facts("facts", "What it asks, and how it stands", tuple(pairs.items())),
        table(
            "flows",
            "What it concerns",
            ("zone", "sink", "purpose", "checked", "holds", "passed", "events"),
            standing.flows.rows,
            lambda row: (
                zone(row.zone),
                Cell(row.sink, asked.links.to("/zones", "decisions", sink=row.sink, zone=row.zone)),
                Cell(row.purpose),
                Cell(row.checked),
                Cell("yes" if row.holds else "no"),
                Cell("yes" if row.passed else "no"),
                number(row.events),
            ),
            more=standing.flows.more,
        ),
        violations_table(asked, standing, "What breaks it"),
        table(
            "enforcing",
            "What enforcing would have stopped",
            ("zone", "sink", "purpose", "by this requirement", "by all rules"),
            standing.enforcing_stops.rows,
            lambda row: (
                zone(row.zone),
                Cell(row.sink),
                Cell(row.purpose),
                number(row.by_requirement),
                number(row.by_all),
            ),
            more=standing.enforcing_stops.more,
            none="Nothing.",
        ),
        table(
            "streams",
            "Streams",
            ("stream", "devices", "events"),
            standing.streams.rows,
            lambda row: (Cell(row.stream, css="id"), number(row.sources), number(row.events)),
            more=standing.streams.more,
        ),
    )
    return Shown(title=f"Requirement {standing.requirement}", blocks=blocks, plain=standing.to_dict())


def violations_table(asked: Asked, standing: Required, heading: str, name: str = "violations") -> Table:
    """Return what breaks a requirement as a table."""
    return table(
        name,
        heading,
        ("first event", "events", "time", "zone", "sink", "purpose", "checked"),
        standing.open_violations.rows,
        lambda row: (
            event(row.id, asked.links),
            number(row.events),
            moment(row.t),
            zone(row.zone),
            Cell(row.sink),
            Cell(row.purpose),
            Cell(row.checked),
        ),
        more=standing.open_violations.more,
        none="Nothing that this role is shown.",
    )


def _word(text: str | UnsetType) -> Cell:
    return Cell("" if isinstance(text, UnsetType) else text)


def _share(percent: float | UnsetType) -> Cell:
    return number(None if isinstance(percent, UnsetType) else percent)
