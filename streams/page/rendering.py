"""Pages as HTML and JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache

import jinja2
import orjson
from markupsafe import Markup

from streams import clock, limits
from streams.events.headers import rfc3339
from streams.page.drawing.elements import mark_alone
from streams.page.drawing.zones import Looks
from streams.page.pictures.links import Links
from streams.page.showing import Block, Section, Shown
from streams.page.viewing import Bar, RefusedError

#: Pages in the order of the bar.
PAGES: Sequence[tuple[str, str]] = (
    ("/", "Answer"),
    ("/loop", "Loop"),
    ("/zones", "Zones"),
    ("/refusals", "Refusals"),
    ("/requirements", "Requirements"),
    ("/inventory", "Inventory"),
    ("/policies", "Policies"),
    ("/live", "Live"),
)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("streams.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(
    shown: Shown, bar: Bar, *, path: str, query: Mapping[str, str], links: Links, looks: Looks, twin: str
) -> bytes:
    """Return a page as HTML, whose own address is `path` with `query`.

    `twin` is the address of its JSON; it is empty in an export, where nothing can be asked for.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            shown=shown,
            bar=bar,
            path=path,
            links=links,
            twin=twin,
            pages=PAGES,
            age=age(bar.age_s),
            own=lambda epoch: Links(dict(query)).to(path, epoch=epoch),
            # `streams.page.drawing` escapes what it draws.
            mark=lambda name: Markup(mark_alone(looks.look(name))),  # noqa: S704
            drawn=Markup,
        )
        .encode()
    )


def report(sections: Sequence[Section], bar: Bar, looks: Looks, css: str, links: Links) -> bytes:
    """Return a report as HTML with nothing beside it: its style is in it, and it needs no script.

    Its own Content-Security-Policy permits this style alone, by its digest, and fetches nothing.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            # What the blocks of a page look up: a report is not live, and has nothing that a server answers.
            shown=Shown(title=f"Report of {bar.store}", blocks=(), plain={}),
            twin="",
            sections=sections,
            bar=bar,
            links=links,
            made=rfc3339(clock.now_ns()),
            rows_max=limits.PAGE_ROWS_MAX,
            policy=_alone(css),
            style=Markup(css),  # noqa: S704 - a file of ours
            mark=lambda name: Markup(mark_alone(looks.look(name))),  # noqa: S704 - as above
            drawn=Markup,
        )
        .encode()
    )


def alone(title: str, blocks: Sequence[Block], looks: Looks, css: str) -> bytes:
    """Return blocks as a page with nothing beside it, as `report` does, and without a bar."""
    return (
        _environment()
        .get_template("alone.html")
        .render(
            shown=Shown(title=title, blocks=tuple(blocks), plain={}),
            twin="",
            policy=_alone(css),
            style=Markup(css),  # noqa: S704 - a file of ours
            mark=lambda name: Markup(mark_alone(looks.look(name))),  # noqa: S704 - as above
            drawn=Markup,
        )
        .encode()
    )


def _alone(css: str) -> str:
    """Content-Security-Policy of a page whose style is in it, which fetches nothing."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def json(shown: Shown, bar: Bar) -> bytes:
    """Return a page's facts as JSON, with role, epoch and what is hidden."""
    return orjson.dumps(
        {
            **shown.to_dict(),
            "role": bar.role,
            "epoch": bar.epoch,
            "newest_epoch": bar.newest,
            "published": bar.published,
            "hidden": bar.hidden,
            "left_out": bar.left_out,
        },
        default=str,
        option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE,
    )


def refusal(error: RefusedError, *, as_json: bool = False, exported: bool = False) -> bytes:
    """Return a page that says what is wrong."""
    if as_json:
        return orjson.dumps({"status": error.status, "error": str(error)}, option=orjson.OPT_APPEND_NEWLINE)
    page = _environment().get_template("refusal.html")
    return page.render(
        status=error.status, heading=error.heading, words=str(error), exported=exported
    ).encode()


def age(seconds: float) -> str:
    """Say how old something is, to the second, minute, hour or day."""
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {word}"
    return f"{seconds:,.0f} s"
