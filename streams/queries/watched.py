"""What alert rules look at: what the epochs since a known one added, as far as a role may see it.

Only new epochs are read, so that watching a large store costs no more than watching a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from streams import limits
from streams.queries.role import SHOWN_TO
from streams.queries.rows import ClassedRow
from streams.queries.store import Store


class FlowRow(ClassedRow, frozen=True, kw_only=True):
    """Data that went from a zone into a sink: since which `epoch`, its first event, and how many events.

    `restricted` says whether the policy marks the zone so.
    """

    sink: str
    epoch: int
    id: str
    events: int
    restricted: bool = False


class RefusalRow(ClassedRow, frozen=True, kw_only=True):
    """Events of one epoch that were kept from a sink by one rule; `id` is one of them."""

    epoch: int
    sink: str
    verdict: str
    said_by: str
    events: int
    id: str


class RejectedRow(ClassedRow, frozen=True, kw_only=True):
    """Events of one epoch that a stage rejected by one rule; `id` is one of them, empty if none has one."""

    epoch: int
    stage: str
    outcome: str
    said_by: str
    events: int
    id: str


class DeviceRow(ClassedRow, frozen=True, kw_only=True):
    """The newest event of a device, by the `offset` in its log.

    `kind` and `id` are empty if it was rejected.
    """

    source: str
    epoch: int
    offset: int
    kind: str
    id: str


class FeedbackRow(ClassedRow, frozen=True, kw_only=True):
    """Number of feedback events of one epoch."""

    epoch: int
    events: int


class NewestModelRow(ClassedRow, frozen=True, kw_only=True):
    """The newest version of a model; `retrain_by_ns` is 0 if it may stay for ever."""

    id: str
    model: str
    retrain_by_ns: int


class ConsentedRow(ClassedRow, frozen=True, kw_only=True):
    """Events that passed because their wearer had consented to `purpose`; `at_ns` is when it was decided."""

    purpose: str
    epoch: int
    at_ns: int
    id: str
    events: int


class IncompleteRow(ClassedRow, frozen=True, kw_only=True):
    """Derived events of an epoch that have a parent which is not stored; `id` is one of them."""

    epoch: int
    events: int
    id: str


class Looking(Struct, frozen=True, kw_only=True):
    """Which epochs to read.

    `after`: the newest epoch that was read, 0 if none was. `settled`: the newest whose lineage was checked.
    `window_s`: how far back the first reading goes, where only what is recent matters. `settling_s`: how old
    an epoch is when its lineage is checked, because parents of other partitions may come with later epochs.
    `checked_s`: how far back the first check goes.
    """

    after: int
    settled: int
    window_s: float
    settling_s: float
    checked_s: float


class Watched(Struct, frozen=True, kw_only=True):
    """What a role may see of the epochs after the one that was known.

    `ages_s`: by epoch, how long before the newest one it was published. A pause between two epochs counts for
    PAUSE_S_MAX at most; while the writer's clock is behind the time of an earlier epoch, all epochs get that
    time, and each counts for PUBLISH_INTERVAL_MS. It has the known epoch, the newer ones, and at most
    WATCHED_EPOCHS_MAX. The lineage of the epochs up to `settled` was checked; `incomplete` is what the newly
    checked ones lack. `words` are None if the role is not shown recorded inputs.
    """

    epoch: int
    published_ns: int
    ages_s: Mapping[int, float]
    offsets: Mapping[int, int]
    flows: Sequence[FlowRow]
    refusals: Sequence[RefusalRow]
    rejected: Sequence[RejectedRow]
    devices: Sequence[DeviceRow]
    feedback: Sequence[FeedbackRow]
    models: Sequence[NewestModelRow]
    consented: Sequence[ConsentedRow]
    words: Sequence[str] | None
    settled: int
    incomplete: Sequence[IncompleteRow]


def watched(store: Store, looking: Looking) -> Watched:
    """Return what the epochs that were not read before added."""
    after = looking.after
    ages_s = _ages_s(store, looking.settled if after else 0)
    since = after or min(epoch for epoch, age_s in ages_s.items() if age_s <= looking.window_s) - 1
    settled, incomplete = _incomplete(store, looking, ages_s)
    whole, recent = {"after": after}, {"since": since}
    flows = store.sift(store.query("watched_flows", whole).of(FlowRow), "decisions")
    sees_inputs = store.role_filter is None or store.role_filter.role.name in SHOWN_TO["inputs"]
    words = store.query("watched_words", whole).rows if sees_inputs else None
    # A word may be taken up after what was decided in spite of it, so the epochs before are read again.
    heeding = max(after - limits.WATCHED_WORDS_EPOCHS, 0) if after and words else since
    return Watched(
        epoch=store.epoch,
        published_ns=store.newest.published_ns,
        ages_s=ages_s,
        offsets=dict(store.newest.offsets),
        flows=[_marked(store, row) for row in flows],
        refusals=store.sift(store.query("watched_refusals", recent).of(RefusalRow), "decisions"),
        rejected=store.sift(store.query("watched_rejected", recent).of(RejectedRow), "rejected"),
        devices=[
            *store.sift(store.query("watched_devices", recent).of(DeviceRow), "events"),
            *store.sift(store.query("watched_heard", recent).of(DeviceRow), "rejected", counted=False),
        ],
        feedback=store.sift(store.query("watched_feedback", recent).of(FeedbackRow), "events"),
        models=store.sift(store.query("watched_models", whole).of(NewestModelRow), "models"),
        consented=store.sift(
            store.query("watched_consents", {"since": heeding}).of(ConsentedRow), "decisions"
        )
        if sees_inputs
        else (),
        words=None if words is None else [value for (value,) in words],
        settled=settled,
        incomplete=incomplete,
    )


def _incomplete(
    store: Store, looking: Looking, ages_s: Mapping[int, float]
) -> tuple[int, Sequence[IncompleteRow]]:
    """Check the lineage of the epochs that have settled; return the newest of them, and what it lacks."""
    settled = [epoch for epoch, age_s in ages_s.items() if age_s >= looking.settling_s]
    first = looking.settled or min(
        (epoch - 1 for epoch in settled if ages_s[epoch] <= looking.settling_s + looking.checked_s), default=0
    )
    last = max(settled, default=0)
    if last <= first:
        return max(last, looking.settled), ()
    rows = store.query("watched_incomplete", {"first": first, "last": last}).of(IncompleteRow)
    return last, store.sift(rows, "events")


def _marked(store: Store, row: FlowRow) -> FlowRow:
    restricted = store.role_filter is not None and store.role_filter.is_restricted(
        row.policy_version, row.zone
    )
    return replace(row, restricted=restricted)


def _ages_s(store: Store, after: int) -> dict[int, float]:
    """How long before the newest epoch each epoch from `after` on was published, without pauses and steps."""
    rows = store.query("watched_epochs", {"after": after, "most": limits.WATCHED_EPOCHS_MAX}).rows
    ages_s, age_s = dict[int, float](), 0.0
    later_ns = None
    for epoch, published_ns in rows:
        if later_ns is not None:
            gap_s = (later_ns - published_ns) / 1e9
            age_s += min(gap_s, limits.PAUSE_S_MAX) if gap_s > 0 else limits.PUBLISH_INTERVAL_MS / 1000
        ages_s[epoch], later_ns = age_s, published_ns
    return ages_s
