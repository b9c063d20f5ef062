"""How the stream stands now: alerts, the newest epoch, rates, lag, what is missing, and the generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from streams import clock
from streams.errors import UnavailableError
from streams.events.headers import rfc3339
from streams.page.pictures.links import Links
from streams.page.pictures.statements import statement
from streams.page.showing import Block, Cell, Facts, Notice, Shown, event, moment, number, table
from streams.page.viewing import Asked
from streams.watching.reading import Position, Reader
from streams.watching.watcher import Turn

_RATE_S = 60


def page(asked: Asked) -> Shown:
    """Show what the newest epoch says of now, and the lag of agents and store if a broker was named."""
    store, links = asked.store, asked.links
    rates = store.sql(statement("rates")).to_dicts()
    epoch: Mapping[str, Any] = store.sql(statement("newest_epoch")).to_dicts()[0]
    models = store.sql(statement("models")).to_dicts()
    missing = store.missing()
    lost = missing.lost_records if isinstance(missing.lost_records, int | str) else 0
    generation = models[-1] if models else None
    lag, away = _lag(asked, dict(epoch["offsets"]))
    standing, plain_alerts = _alerts(asked, lag)
    dropped = f"{missing.missing_events:,} events" + (f", {lost} records" if lost else "")
    blocks: list[Block] = [
        *([Notice(f"Data is missing: {dropped}.", "error")] if missing.missing_events or lost else []),
        *([Notice(away)] if away else []),
        *standing,
        Facts(
            "now",
            "Now",
            (
                ("newest epoch", number(store.epoch)),
                ("published", moment(rfc3339(epoch["published_ns"]))),
                ("read from the store", moment(rfc3339(clock.now_ns()))),
                ("data captured until", moment(max((row["watermark"] for row in rates), default=None))),
                ("dropped", Cell(dropped)),
                (
                    "generation",
                    Cell("none that this role is shown")
                    if generation is None
                    else event(generation["id"], links),
                ),
            ),
        ),
        table(
            "rates",
            f"What epochs added in the {_RATE_S} s up to the newest",
            ("topic", "batches", "batches/s", "events", "captured until"),
            rates,
            lambda row: (
                Cell(row["topic"]),
                number(row["batches"]),
                replace(number(row["batches"] / _RATE_S), plot=f"{row['topic']}, batches/s"),
                number(row["events"]),
                moment(row["watermark"]),
            ),
            none="Nothing that this role is shown.",
        ),
        table(
            "lag",
            "Lag of agents and store",
            ("agent", "topic", "partition", "records", "seconds"),
            lag,
            lambda row: (
                Cell(str(row["agent"])),
                Cell(str(row["topic"])),
                number(row["partition"]),
                number(row["records"]),
                number(row["seconds"]),
            ),
            none="No broker was named: `sightline page --broker HOST:PORT` asks one.",
        ),
    ]
    return Shown(
        title="Live",
        live=True,
        blocks=tuple(blocks),
        plain={
            "rates": rates,
            "rate_s": _RATE_S,
            "missing_events": missing.missing_events,
            "lost_records": lost,
            "generation": generation,
            "lag": list(lag),
            **plain_alerts,
            "says": away,
        },
    )


def _alerts(asked: Asked, lag: Sequence[Mapping[str, Any]]) -> tuple[list[Block], dict[str, object]]:
    """Return the alerts that stand for the role, as blocks and as plain values; none at a past epoch."""
    if asked.alerts is None:
        return [Notice("Alerts are those of now, so they are not shown with an older epoch.")], {}
    positions = {
        Reader(row["agent"], row["topic"], row["partition"]): Position(
            row["next_offset"], row["end_offset"], row["records"]
        )
        for row in lag
    }
    turn, not_judged = asked.alerts(positions or None)
    return standing_alerts(turn, not_judged, asked.links), {
        "alerts": [to_builtins(alert) for alert in turn.standing],
        "alerts_left_out": turn.left_out,
        "alerts_not_judged": list(not_judged),
    }


def standing_alerts(turn: Turn, not_judged: Sequence[str], links: Links) -> list[Block]:
    """Return the alerts that stand as a table, and which rules were not judged and why."""
    shown = table(
        "alerts",
        "Alerts",
        ("alert", "since", "what", "event", "what to do", "what shows more"),
        turn.standing,
        lambda alert: (
            Cell(alert.rule),
            moment(alert.since),
            Cell(alert.says),
            event(alert.evidence[0], links) if alert.evidence else Cell(""),
            Cell(alert.advice),
            Cell(alert.ask, css="id"),
        ),
        none="No alert stands.",
    )
    notices = [Notice(f"Not judged: {'; '.join(not_judged)}.")] if not_judged else []
    return [shown, *notices]


def _lag(asked: Asked, offsets: Mapping[int, int]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Lag by reader and partition, and what is to say where the broker is away."""
    if asked.lag is None:
        return (), ""
    try:
        return asked.lag(offsets), ""
    except UnavailableError as error:
        return (), str(error)
