"""One page with every drawing on it, over values that somebody made up: to be looked at and to be tried."""

from __future__ import annotations

from pathlib import Path

import streams.page
from streams.page.drawing.elements import mark_alone
from streams.page.drawing.graph import Arrow, Node, Picture
from streams.page.drawing.loop import Fed, Turn, Turns, drawn_loop
from streams.page.drawing.matrix import Field, Matrix, Share, drawn_matrix
from streams.page.drawing.series import Point, Series, drawn_series
from streams.page.drawing.svg import drawn
from streams.page.drawing.timeline import Span, Spans, Timeline, drawn_timeline
from streams.page.drawing.zones import Looks

STATIC = Path(streams.page.__file__).parent / "static"
LOOKS = Looks.of(
    [
        ("rights", 70),
        ("unlit-camera", 65),
        ("health", 60),
        ("child-near", 55),
        ("bystander-present", 50),
        ("voice-assistant", 40),
        ("home-private", 30),
        ("public", 20),
        ("device", 10),
    ]
)


def answer() -> Picture:
    """An answer between the sensor runs that it was made of and the sinks that it went to."""
    voice = "voice-assistant"
    nodes = (
        Node(
            key="imu",
            column=0,
            title="g1/imu-right/18300..18399",
            zone="public",
            shape="run",
            href="/event/i",
        ),
        Node(key="query", column=0, title="g1/voice-query/30", zone=voice, href="/event/q"),
        Node(key="activity", column=1, title="g1/activity/18300", zone="public", href="/event/a"),
        Node(
            key="hidden",
            column=1,
            title="10-99 events",
            lines=("not shown to analyst", "rule ask:analyst"),
            shape="hidden",
        ),
        Node(key="situation", column=2, title="g1/situation/30", zone=voice, href="/event/s"),
        Node(
            key="model",
            column=2,
            title="training/intent-model/4",
            zone=voice,
            lines=("124 examples of w1, w2", "accuracy 0.70"),
            shape="model",
            href="/event/m",
        ),
        Node(
            key="answer",
            column=3,
            title="g1/answer/30",
            zone=voice,
            lines=("2026-11-29 04:11:30",),
            href="/event/30",
            current=True,
        ),
        Node(key="store", column=4, title="store", shape="sink", href="/zones?sink=store"),
        Node(key="training", column=4, title="training-run", shape="sink", href="/zones?sink=training-run"),
        Node(key="more", column=4, title="3 more", shape="more", href="/event/30?down=2"),
    )
    arrows = (
        Arrow(of="imu", to="activity", words="100 events", href="/event/a/records"),
        Arrow(of="query", to="situation", words="1 event", href="/event/s/records"),
        Arrow(of="query", to="answer", words="1 event", href="/event/30/records"),
        Arrow(of="activity", to="situation", words="1 event", href="/event/s/records?of=a"),
        Arrow(of="hidden", to="situation"),
        Arrow(of="situation", to="answer", words="1 event", href="/event/30/records?of=s"),
        Arrow(of="model", to="answer", words="model-training", verdict="declassified", href="/event/m/why"),
        Arrow(of="answer", to="store", verdict="allow", words="sinks.store", href="/refusals?rule=a"),
        Arrow(of="answer", to="training", verdict="deny", words="ai:ModelTraining", href="/refusals?rule=b"),
        Arrow(of="answer", to="more", words="example", href="/event/30/records?of=more"),
        Arrow(of="more", to="model", words="learned from", href="/loop", back=True),
    )
    return Picture(
        title="g1/answer/30",
        description="What the answer was made of, and where it went",
        nodes=nodes,
        arrows=arrows,
        columns=("sensor runs", "derived", "situation and model", "answer", "where it went"),
    )


def loop() -> Turns:
    """Seven generations."""
    turns = []
    for number in range(1, 8):
        sources = range(max(1, number - 1 - number % 3), number)
        fed = tuple(Fed(of=f"m{of}", examples=12 - of, href=f"/fed/{number}/{of}") for of in sources)
        turns.append(
            Turn(
                key=f"m{number}",
                title=f"training/intent-model/{number}",
                href=f"/event/m{number}",
                zone="voice-assistant" if number > 1 else "public",
                lines=("2 wearers, 04:19:28",),
                fed=fed or (Fed(of="", examples=88, href="/fed/1"),),
                examples=sum(each.examples for each in fed) or 88,
                examples_href=f"/examples/{number}",
                answers=16 + number,
                answers_href=f"/answers/{number}",
                accuracy=0.57 + number * 0.03,
                purposes=6 - number % 3 if number != 4 else None,
            )
        )
    return Turns(
        title="The loop", description="By generation, oldest first", turns=tuple(turns), purposes_max=6
    )


def matrix() -> Matrix:
    """Crossings of four zones into five sinks."""
    zones = ("health", "voice-assistant", "public", "unconfigured")
    sinks = ("glasses.zoned", "processing", "glasses.answers", "training-run", "store")
    fields = []
    for row, zone in enumerate(zones):
        for column, sink in enumerate(sinks):
            refused = sink == "training-run" and zone == "health"
            unknown = zone == "unconfigured"
            if (unknown and column) or ((row + column) % 4 == 3 and not refused):
                continue
            counts = [(row * 7 + column * 5 + span * span) % 23 for span in range(24)]
            shares = [
                Share(unconfigured=count) if unknown else Share(deny=count) if refused else Share(allow=count)
                for count in counts
            ]
            fields.append(
                Field(zone=zone, sink=sink, shares=tuple(shares), href=f"/zones?z={row}&s={column}")
            )
    return Matrix(
        title="Crossings",
        description="From which zone into which sink",
        zones=zones,
        sinks=sinks,
        fields=tuple(fields),
        since="04:11",
        until="04:20",
        zone_hrefs={zone: f"/search?zone={zone}" for zone in zones},
    )


def accuracy() -> Series:
    """The accuracy of twelve generations."""
    points = tuple(
        Point(word=str(number), value=0.57 + 0.2 * (1 - 0.7**number), href=f"/event/m{number}")
        for number in range(1, 13)
    )
    return Series(
        title="Accuracy",
        description="Of each generation",
        measure="accuracy by generation",
        points=points,
        low=0,
        high=1,
    )


def consents() -> Timeline:
    """What a wearer permitted, when."""
    rows = (
        Spans(
            word="RequestedServiceProvision",
            spans=(Span(since_ns=0, until_ns=100, given=False), Span(since_ns=100, words="given")),
        ),
        Spans(
            word="ModelTraining",
            spans=(Span(since_ns=100, until_ns=700, words="given", href="/event/c"), Span(since_ns=900)),
        ),
        Spans(word="health", zone="health", spans=(Span(since_ns=300, until_ns=420, words="in the clinic"),)),
    )
    return Timeline(
        title="Consents of w1",
        description="By purpose",
        rows=rows,
        since_ns=0,
        until_ns=1000,
        since="04:11",
        until="04:20",
    )


def page() -> str:
    """Return a whole page with everything on it, as the templates have it."""
    zone = f'<span class="zone-word">{mark_alone(LOOKS.look("health"))}health</span>'
    drawings = "".join(
        f'<section aria-labelledby="s{number}"><h2 id="s{number}">{heading}</h2>{drawing}</section>'
        for number, (heading, drawing) in enumerate(
            (
                ("Where it came from and went", drawn(answer(), LOOKS)),
                ("By generation", drawn_loop(loop(), LOOKS)),
                ("Crossings", drawn_matrix(matrix(), LOOKS)),
                ("Accuracy", drawn_series(accuracy())),
                ("Consents", drawn_timeline(consents(), LOOKS)),
            )
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>g1/answer/30</title><link rel="stylesheet" href="/static/page.css">
<script src="/static/page.js" defer></script></head>
<body>
<a class="skip" href="#content">To the content</a>
<header class="bar">
<div class="bar-row"><a class="brand" href="/">Sightline</a>
<nav aria-label="Pages"><ul>
<li><a href="/" aria-current="page">Answer</a></li><li><a href="/loop">Loop</a></li>
<li><a href="/zones">Zones</a></li><li><a href="/refusals">Refusals</a></li>
</ul></nav>
<form action="/search" role="search"><label for="q">Search</label>
<input id="q" name="q" type="search"><button>Search</button></form></div>
<div class="bar-row"><dl>
<div><dt>role</dt><dd>analyst</dd></div><div><dt>epoch</dt><dd>204, 12 s old</dd></div>
<div><dt>not shown</dt><dd>100+ events</dd></div></dl>
<div class="slider"><a href="/?epoch=203" rel="prev">earlier</a> <label for="epoch">Epoch</label>
<input id="epoch" type="range" min="0" max="2" value="2" data-epochs="1,203,204">
<output for="epoch">204</output></div></div>
</header>
<main id="content"><h1><span class="id">g1/answer/30</span></h1>
<p class="notice hidden-by-policy">10-99 events are not shown to analyst: rule ask:analyst.</p>
<dl class="facts"><dt>zone</dt><dd>{zone}</dd><dt>policy</dt><dd class="id">296e65f76a51c182</dd></dl>
{drawings}
<h2 id="decisions">Decisions</h2>
<div class="table" role="region" aria-labelledby="decisions" tabindex="0"><table><thead>
<tr><th scope="col">sink</th><th scope="col">verdict</th><th scope="col" class="number">events</th></tr>
</thead><tbody>
<tr><td>training-run</td><td><span class="verdict deny">deny</span></td><td class="number">1,026</td></tr>
<tr><td>store</td><td><span class="verdict allow">allow</span></td><td class="number">12</td></tr>
</tbody></table></div>
</main><footer>Epoch 204 of lineage-store, as published at 04:20:34 UTC.</footer></body></html>"""


if __name__ == "__main__":
    print(page())  # noqa: T201 - to be looked at
