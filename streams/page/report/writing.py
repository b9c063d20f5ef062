"""A report as one file that needs nothing beside it: written whole or not at all, under a role, on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import xxhash
from msgspec import Struct

from streams import files
from streams.page.app import static
from streams.page.pictures.links import Links
from streams.page.rendering import report as rendered
from streams.page.report import checks, flows, ran, standing, turning
from streams.page.report.reporting import Counted, Reporting, Standing, Within
from streams.page.showing import Section
from streams.page.viewing import Asked, View, looks_of
from streams.queries.asking import OpenStore
from streams.queries.audit import asked_as
from streams.queries.moments import look_back
from streams.queries.role import Role
from streams.queries.store import Store
from streams.watching.thresholds import Thresholds
from streams.watching.watcher import Watcher


class Wanted(Struct, frozen=True, kw_only=True):
    """What a report is to be about.

    `as_of` is a time or the number of a kept epoch, empty for the newest epoch. `last` is a length of time in
    words, and `last_ns` the same in nanoseconds. `counted` is the result of the ledger, if it was asked.
    """

    as_of: str = ""
    last: str
    last_ns: int
    counted: Counted | None = None


class Written(Struct, frozen=True, kw_only=True):
    """What was written: of which epoch, how large, whether anything was wrong, and what was not shown."""

    file: str
    epoch: int
    bytes: int
    wrong: tuple[str, ...]
    hidden: Mapping[str, str]
    left_out: tuple[str, ...]


def write_report(
    directory: Path,
    role: Role,
    out: Path,
    wanted: Wanted,
    *,
    replacing: bool,
    printed: Callable[[bytes], bytes],
    show: Callable[[str], None],
) -> Written:
    """Write a report of a store into `out`, of what the policies let the role take out (the sink `export`).

    `printed` turns the report's HTML into what the file is to hold. The file bears its name when it is whole
    and every question, and the file's own digest, are on record. A file that is there is replaced only if
    `replacing`. `show` is told how far it is.

    Raises
    ------
    InputError
        Something stands under the name, it cannot be written, or the epoch is not kept.
    UnavailableError
        There is no epoch, its files are gone, or a read cannot be recorded.
    """
    leaving = replace(role, exporting=True)
    with (
        files.written(out) if replacing else files.added(out) as file,
        Store.open(directory, leaving) as opened,
    ):
        show("reading the store")
        look_back(opened, wanted.as_of, "--as-of")
        store = OpenStore(opened, leaving, wanted.as_of)
        links = _links(ran.texts_shown(store))
        asked = Asked(store=store, role=role, path={}, query={}, links=links, looks=looks_of(store))
        question = asked_as(f"report --out {out}", {"--as-of": wanted.as_of})
        alerts = None if wanted.as_of else _standing(directory, leaving, question)
        reporting = Reporting.of(asked, wanted.last, wanted.last_ns, wanted.counted, alerts)
        judged = checks.checks_of(reporting)
        sections = []
        for section in _sections(reporting, judged):
            show(f"{section.heading} is written")
            sections.append(section)
        bar = View(directory, store, role, store.moments(), bool(wanted.as_of)).bar()
        show("putting it together")
        content = printed(rendered(sections, bar, asked.looks, static("page.css").decode(), links))
        digest = xxhash.xxh3_128_hexdigest(content)
        opened.record(question, digest)
        file.write(content)
        return Written(
            file=str(out),
            epoch=bar.epoch,
            bytes=len(content),
            wrong=tuple(f"{check.result} {check.words}" for check in judged if check.wrong),
            hidden=bar.hidden,
            left_out=bar.left_out,
        )


def _standing(directory: Path, role: Role, question: str) -> Standing:
    """Return the alerts that stand, as somebody who begins to watch is told them."""
    watcher = Watcher(directory, role, Thresholds(), question)
    return watcher.look(), watcher.not_judged("no broker is asked")


def _links(versions: Sequence[str]) -> Within:
    """Addresses of the policies whose texts are in the report."""
    return Within(
        anchors={Links().to("/policies", version=version): f"#policy-{version}" for version in versions}
    )


def _sections(reporting: Reporting, judged: Sequence[checks.Check]) -> Iterator[Section]:
    """Sections in their order: what people open a report for comes first."""
    yield checks.standing(reporting, judged)
    yield flows.recent(reporting)
    yield ran.ran(reporting)
    yield flows.crossings(reporting)
    yield flows.refusals(reporting)
    yield turning.loop(reporting)
    yield turning.wearers(reporting)
    yield standing.requirements(reporting)
    yield standing.integrity(reporting)
    yield ran.policies(reporting)
