"""How the stream stands now: alerts, the newest epoch, rates, lag, what is missing, and the generation."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, to_builtins
from msgspec.structs import replace

from streams import clock, limits
from streams.events.headers import rfc3339
from streams.page.pictures.links import Links
from streams.page.showing import Block, Cell, Facts, Notice, Shown, event, moment, number, table
from streams.page.viewing import Asked, LagRows
from streams.queries.current import CurrentEpoch
from streams.queries.missing import Missing
from streams.watching.watcher import Turn


class Now(Struct, frozen=True, kw_only=True):
    """What a look at a store tells the live page.

    `looked_ns` is when, by the wall clock. `missing` is of its own epoch, which may be an earlier one than
    that of `current`. `lag` is empty if no broker was asked; `away` says why one that was asked did not
    answer. `turn` has the alerts that stand, None with an older epoch, because alerts are those of now.
    """

    looked_ns: int
    current: CurrentEpoch
    missing: Missing
    lag: LagRows = ()
    away: str = ""
    turn: Turn | None = None
    not_judged: Sequence[str] = ()


def page(asked: Asked) -> Shown:
    """Show how an epoch stood."""
    now = Now(looked_ns=clock.now_ns(), current=asked.store.current(), missing=asked.store.missing())
    return shown(now, asked.links)


def shown(now: Now, links: Links) -> Shown:
    """Show what a look told."""
    alerts, plain_alerts = _alerts(now, links)
    lost = now.missing.lost_records if isinstance(now.missing.lost_records, int | str) else 0
    dropped = f"{now.missing.missing_events:,} events" + (f", {lost} records" if lost else "")
    return Shown(
        title="Live",
        live=True,
        blocks=(
            *(
                [Notice(f"Data is missing: {dropped}.", "error")]
                if now.missing.missing_events or lost
                else []
            ),
            *([Notice(now.away)] if now.away else []),
            *alerts,
            _facts(now, dropped, links),
            _rates(now.current),
            _lag(now),
        ),
        plain={
            "rates": to_builtins(now.current.rates),
            "rate_s": limits.CURRENT_S,
            "missing_events": now.missing.missing_events,
            "missing_by_epoch": now.missing.epoch,
            "lost_records": lost,
            "generation": None if now.current.generation is UNSET else to_builtins(now.current.generation),
            "lag": list(now.lag),
            **plain_alerts,
            "says": now.away,
        },
    )


def _facts(now: Now, dropped: str, links: Links) -> Facts:
    current = now.current
    generation = current.generation
    return Facts(
        "now",
        "Now",
        (
            ("newest epoch", number(current.epoch)),
            ("published", moment(current.published)),
            ("looked at", moment(rfc3339(now.looked_ns))),
            ("data captured until", moment(max((rate.watermark for rate in current.rates), default=None))),
            ("dropped", Cell(f"{dropped}, by epoch {now.missing.epoch:,}")),
            (
                "generation",
                Cell("none that this role is shown") if generation is UNSET else event(generation.id, links),
            ),
        ),
    )


def _rates(current: CurrentEpoch) -> Block:
    return table(
        "rates",
        f"What epochs added in the {limits.CURRENT_S} s up to the newest",
        ("topic", "batches", "batches/s", "events", "captured until"),
        current.rates,
        lambda rate: (
            Cell(rate.topic),
            number(rate.batches),
            replace(number(rate.batches / limits.CURRENT_S), plot=f"{rate.topic}, batches/s"),
            number(rate.events),
            moment(rate.watermark),
        ),
        none="Nothing that this role is shown.",
    )


def _lag(now: Now) -> Block:
    if now.turn is None:
        none = "Lag is that of now, so it is not shown with an older epoch."
    elif now.away:
        none = "It is not known, because no broker answered."
    else:
        none = "No broker was named: `sightline page --broker HOST:PORT` asks one."
    return table(
        "lag",
        "Lag of agents and store",
        ("agent", "topic", "partition", "records", "seconds"),
        now.lag,
        lambda row: (
            Cell(str(row["agent"])),
            Cell(str(row["topic"])),
            number(row["partition"]),
            number(row["records"]),
            number(row["seconds"]),
        ),
        none=none,
    )


def _alerts(now: Now, links: Links) -> tuple[list[Block], dict[str, object]]:
    """Return the alerts that stand as blocks and as plain values."""
    if now.turn is None:
        return [Notice("Alerts are those of now, so they are not shown with an older epoch.")], {}
    return standing_alerts(now.turn, now.not_judged, links), {
        "alerts": [to_builtins(alert) for alert in now.turn.standing],
        "alerts_left_out": now.turn.left_out,
        "alerts_not_judged": list(now.not_judged),
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
