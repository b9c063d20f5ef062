"""What went from which zone into which sink, over the time of a whole store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.page.drawing.matrix import Field, Matrix, Share
from streams.page.drawing.zones import Looks
from streams.page.pictures.links import Links
from streams.page.pictures.statements import statement
from streams.queries.asking import OpenStore
from streams.topology import CROSSINGS, STORE

#: Equal spans of time that a field has a bar for.
SPANS = 24


def crossing_matrix(store: OpenStore, looks: Looks, links: Links, since_ns: int = 0) -> Matrix:
    """Return what crossed from each zone into each sink, and what did not, as the store's role sees it.

    Decisions count from `since_ns` on.

    Events are counted as decisions were made about them; the highest zone comes first, sinks are in the order
    of the flow.
    """
    counts: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in store.sql(statement("crossed", since_ns=since_ns)).to_dicts():
        field = counts.setdefault((row["zone"], row["sink"]), {})
        field.setdefault(row["verdict"], [0] * SPANS)[row["span"]] += row["events"]
    bounds: Mapping[str, Any] = store.sql(statement("decided_between", since_ns=since_ns)).to_dicts()[0]
    zones = sorted({zone for zone, _ in counts}, key=lambda zone: (-looks.places.get(zone, -1), zone))
    order = {sink: number for number, sink in enumerate((*CROSSINGS, STORE))}
    sinks = sorted({sink for _, sink in counts}, key=lambda sink: (order.get(sink, len(order)), sink))
    return Matrix(
        title="Crossings, from zone into sink",
        description=(
            f"{len(zones)} zones, a row each, and {len(sinks)} sinks, a column each. A field says how many "
            "events the policy let pass or refused. The table below says the same."
        ),
        zones=tuple(zones),
        sinks=tuple(sinks),
        fields=tuple(_field(zone, sink, spans, links) for (zone, sink), spans in counts.items()),
        since=bounds["since"] or "",
        until=bounds["until"] or "",
        zone_hrefs={zone: links.to("/zones", zone=zone) for zone in zones},
        sink_hrefs={sink: links.to("/zones", sink=sink) for sink in sinks},
    )


def _field(zone: str, sink: str, spans: Mapping[str, list[int]], links: Links) -> Field:
    none = [0] * SPANS
    return Field(
        zone=zone,
        sink=sink,
        href=links.to("/zones", "decisions", zone=zone, sink=sink),
        shares=tuple(
            Share(allow=allow, declassified=declassified, deny=deny, unconfigured=unconfigured)
            for allow, declassified, deny, unconfigured in zip(
                spans.get("allow", none),
                spans.get("declassified", none),
                spans.get("deny", none),
                spans.get("unconfigured", none),
                strict=True,
            )
        ),
    )
