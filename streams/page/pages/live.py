"""How the stream stands now: the newest epoch, rates, lag, what is missing, and the generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from streams import clock
from streams.errors import UnavailableError
from streams.events.headers import rfc3339
from streams.page.pictures.statements import statement
from streams.page.showing import Block, Cell, Facts, Notice, Shown, event, moment, number, table
from streams.page.viewing import Asked

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
    dropped = f"{missing.missing_events:,} events" + (f", {lost} records" if lost else "")
    blocks: list[Block] = [
        *([Notice(f"Data is missing: {dropped}.", "error")] if missing.missing_events or lost else []),
        *([Notice(away)] if away else []),
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
            f"What the last {_RATE_S} s of epochs added",
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
            "says": away,
        },
    )


def _lag(asked: Asked, offsets: Mapping[int, int]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Lag by reader and partition, and what is to say where the broker is away."""
    if asked.lag is None:
        return (), ""
    try:
        return asked.lag(offsets), ""
    except UnavailableError as error:
        return (), str(error)
