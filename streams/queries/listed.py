"""Rows of the inventory: kinds, columns, streams, zones, topics, tables, models, files, and words in DPV."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

#: Stands where the policy names no owner.
NOBODY = "nobody named"


class ListedKind(Struct, frozen=True, kw_only=True):
    """A kind of event.

    `schema` is its versioned name, `digest` that of its columns and types; both are UNSET if no package that
    is loaded declares the kind. `retention_days` are the shortest and longest of the zones in which it can
    be. `nature` and `sensitivity` are terms of DPV.
    """

    kind: str
    origin: str
    schema: str | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    columns: int
    categories: tuple[str, ...]
    nature: str
    sensitivity: str
    owner: str
    topics: tuple[str, ...]
    retention_days: tuple[int, ...]
    streams: int
    events: int
    last_seen: str | UnsetType = UNSET


class ListedColumn(Struct, frozen=True):
    """A column of a kind: its type, its unit (`none` for numbers that have none; empty for other types).

    `packed` is the type in which packed batches have it, empty if the column holds no numbers. The
    categories are those of the kind, because policies label kinds whole.
    """

    kind: str
    column: str
    type: str
    unit: str
    packed: str
    categories: tuple[str, ...]


class ListedStream(Struct, frozen=True):
    """A stream by kind and topic, of all devices: incarnations count as one stream."""

    kind: str
    stream: str
    topic: str
    devices: int
    events: int
    zones: tuple[str, ...]
    policies: tuple[str, ...]
    unlabelled: int
    last_seen: str


class ListedZone(Struct, frozen=True):
    """A zone of the policy; `events` and `last_seen` count stored events under any policy."""

    zone: str
    rank: int
    mode: str
    owner: str
    restricted: bool
    retention: str
    retention_days: int
    events: int
    last_seen: str | UnsetType = UNSET


class ListedTopic(Struct, frozen=True, kw_only=True):
    """A topic: who writes and reads it, how long it keeps records, and what the store knows of it.

    `retention_days` is UNSET if it keeps the last record of each key. `events` crossed into it by decisions,
    or came from it.
    """

    topic: str
    key: str
    holds: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    retention_days: float | UnsetType = UNSET
    kinds: tuple[str, ...]
    events: int
    last_seen: str | UnsetType = UNSET


class ListedTable(Struct, frozen=True, kw_only=True):
    """A table or view of the store, and which roles are shown rows of it.

    `rows` and `bytes` are those of its files, which only a privacy officer is told.
    """

    table: str
    says: str
    columns: int
    shown_to: tuple[str, ...]
    rows: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET


class ListedModel(Struct, frozen=True):
    """A model version, with what its label says; not `labelled` if its policy cannot read the label."""

    model: str
    zone: str
    policy_version: str
    labelled: bool
    categories: tuple[str, ...]
    sensitivity: str
    examples: int
    wearers: int
    accuracy: float
    bytes: int
    trained: str
    retrain_by: str


class ListedFile(Struct, frozen=True, kw_only=True):
    """Files of one sort; what is UNSET lies outside the store, or is told to a privacy officer only."""

    file: str
    holds: str
    retention: str
    files: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    last_seen: str | UnsetType = UNSET


class ListedWord(Struct, frozen=True):
    """A word of the policy and what it is in DPV; `exact` says whether the term says the same.

    A local word has the nearest wider term, or none, and the reason that the policy gives for it.
    """

    word: str
    list: str
    term: str
    exact: bool
    address: str
    sensitivity: str
    says: str


class Unlabelled(Struct, frozen=True):
    """Something without a label where one is expected, and why that is so."""

    thing: str
    name: str
    why: str
