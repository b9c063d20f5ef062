"""What all sections of a report are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from streams.page.pictures.links import Links
from streams.page.pictures.statements import statement
from streams.page.viewing import Asked
from streams.watching.watcher import Turn

#: The alerts that stand, and the rules that were not judged, each with what it lacks.
Standing = tuple[Turn, Sequence[str]]


class Counted(Struct, frozen=True, kw_only=True):
    """What `sightline ledger` counted between the devices' journals and a store, in events.

    `elsewhere` are in another zone than the scenario says, `unknown_parents` are named as parents and nobody
    knows them. `findings` counts the sentences about what is wrong; they name events, so a report has none.
    """

    findings: int
    sent: int
    stored: int
    rejected: int
    missing: int
    twice: int
    elsewhere: int
    unknown_parents: int

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not self.findings


class Reporting(Struct, frozen=True, kw_only=True):
    """An open store as a report asks it, under a role that exports.

    `last` is a length of time in words; its last section of time begins at `since_ns`, before the latest
    decision that the role is shown, and that is after `began_ns`, the first, unless it holds everything.
    `alerts` are those that stand, with the rules that were not judged; None about an older epoch.
    """

    asked: Asked
    last: str
    since_ns: int
    began_ns: int
    counted: Counted | None = None
    alerts: Standing | None = None

    @classmethod
    def of(
        cls,
        asked: Asked,
        last: str,
        last_ns: int,
        counted: Counted | None,
        alerts: Standing | None,
    ) -> Reporting:
        """Ask when the store's decisions were made."""
        bounds: Mapping[str, Any] = asked.store.sql(statement("decided_between")).to_dicts()[0]
        return cls(
            asked=asked,
            last=last,
            since_ns=max((bounds["until_ns"] or 0) - last_ns, 0),
            began_ns=bounds["since_ns"] or 0,
            counted=counted,
            alerts=alerts,
        )

    @property
    def all_is_recent(self) -> bool:
        """Whether every decision lies within the last section of time."""
        return self.began_ns >= self.since_ns

    def rows(self, name: str, *, since_ns: int = 0) -> list[dict[str, Any]]:
        """Rows of a statement."""
        return self.asked.store.sql(statement(name, since_ns=since_ns)).to_dicts()


class Within(Links, frozen=True):
    """Addresses in a report, which is one file: anchors of what is in it, and nothing for anything else."""

    anchors: Mapping[str, str] = {}

    def to(self, path: str, anchor: str = "", **state: str | int) -> str:
        """Return the anchor of a page's address; empty if the report does not have what it shows."""
        del anchor
        return self.anchors.get(Links.to(self, path, "", **state), "")
