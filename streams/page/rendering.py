"""Pages as HTML and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import jinja2
import orjson
from markupsafe import Markup

from streams.page.drawing.elements import mark_alone
from streams.page.drawing.zones import Looks
from streams.page.pictures.links import Links
from streams.page.showing import Shown
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
