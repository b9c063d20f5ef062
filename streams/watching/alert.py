"""Alerts: what one says, and which begin and end between two readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct, to_builtins

#: Rule and subject of an alert.
Key = tuple[str, tuple[tuple[str, str], ...]]


class Alert(Struct, frozen=True, kw_only=True):
    """What an alert rule noticed.

    `rule` is its name and `about` what it is about, such as a zone and a sink; together they are the alert's
    identity. `since` is when it began, in RFC 3339, and `epoch` the newest epoch then. `evidence` are ids of
    events that the role may see, and `events` how many there are (0: it is about no events). `advice` says
    what to do, and `ask` is the command that shows more.
    """

    rule: str
    about: Mapping[str, str]
    since: str
    epoch: int
    says: str
    evidence: tuple[str, ...]
    events: int
    advice: str
    ask: str

    @property
    def key(self) -> Key:
        """Identity of the alert."""
        return self.rule, tuple(sorted(self.about.items()))


class Change(Struct, frozen=True):
    """An alert that began, or one that ended; `t` is when that was noticed, in RFC 3339."""

    state: Literal["begins", "ends"]
    t: str
    alert: Alert

    def to_dict(self) -> dict[str, object]:
        """The change as plain values for JSON."""
        return {"state": self.state, "t": self.t, **to_builtins(self.alert)}


def changes(before: Iterable[Alert], after: Iterable[Alert], t: str) -> Iterator[Change]:
    """Yield the alerts that ended, then those that began, each in its order; `t` is now, in RFC 3339."""
    former, standing = {alert.key: alert for alert in before}, {alert.key: alert for alert in after}
    yield from (Change("ends", t, alert) for key, alert in former.items() if key not in standing)
    yield from (Change("begins", t, alert) for key, alert in standing.items() if key not in former)
