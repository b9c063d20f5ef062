"""The inventory: everything that holds data, where it flows, and what of this nobody declared or labelled.

It holds what the store has recorded against what the policy and the system declare: streams, kinds, columns,
zones, topics, tables, models and files; and each flow, with how it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.errors import InputError
from streams.policy.dpv import SOURCE
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.assets import Assets
from streams.queries.declared import SHIPPED_SYSTEM, System
from streams.queries.flows import STANDINGS, DataFlow, Flows, StoredKind, observed
from streams.queries.listed import (
    NOBODY,
    ListedColumn,
    ListedFile,
    ListedKind,
    ListedModel,
    ListedStream,
    ListedTable,
    ListedTopic,
    ListedWord,
    ListedZone,
    Unlabelled,
)
from streams.queries.store import Store


class Inventory(Answer, frozen=True, kw_only=True):
    """Everything that holds or moves data, of what the role is shown; what is undeclared comes first.

    `policy` is the one that flows and labels are held against, `owner` who answers for it. `undeclared` are
    flows that were observed and that nobody declared, `unlabelled` things that have no label where one is
    expected; `flows` has all other flows. `reads_are_known`: the role is told who read lineage.
    `vocabulary` names the source of the terms in `words`.
    """

    epoch: int
    policy: str
    owner: str
    flows_undeclared: int
    flows_former: int
    flows_unobserved: int
    flows_hidden: int
    flows_declared: int
    things_unlabelled: int
    reads_are_known: bool
    vocabulary: str
    undeclared: Bounded[DataFlow]
    unlabelled: Bounded[Unlabelled]
    flows: Bounded[DataFlow]
    kinds: Bounded[ListedKind]
    columns: Bounded[ListedColumn]
    streams: Bounded[ListedStream]
    zones: Bounded[ListedZone]
    topics: Bounded[ListedTopic]
    tables: Bounded[ListedTable]
    models: Bounded[ListedModel]
    files: Bounded[ListedFile]
    words: Bounded[ListedWord]


def inventory(store: Store, draft: Policy | None = None, system: System = SHIPPED_SYSTEM) -> Inventory:
    """Return the inventory of a store, of what its role is shown.

    Flows and labels are held against the newest policy that decided, or against `draft`, which need not be
    published. `system` has the kinds and operators that are known, those that are shipped unless given.

    InputError if no policy decided about what the role is shown and none is given.
    """
    policy = draft or newest_policy(store)
    decided, stored = observed(store)
    flowing = Flows(store, policy, system, decided, stored)
    rows = flowing.rows()
    assets = Assets(store, policy, system, decided, stored)
    unlabelled = _without_labels(assets, policy, system, stored)
    counts = {standing: sum(flow.standing == standing for flow in rows) for standing in STANDINGS}
    return Inventory(
        epoch=store.epoch,
        policy=f"{policy.name} {policy.version}",
        owner=policy.owner.says or NOBODY,
        flows_undeclared=counts["undeclared"],
        flows_former=counts["former"],
        flows_unobserved=counts["unobserved"],
        flows_hidden=counts["hidden"],
        flows_declared=counts["declared"],
        things_unlabelled=len(unlabelled),
        reads_are_known=flowing.reads_are_known,
        vocabulary=SOURCE,
        undeclared=Bounded.of([flow for flow in rows if flow.standing == "undeclared"]),
        unlabelled=Bounded.of(unlabelled),
        flows=Bounded.of([flow for flow in rows if flow.standing != "undeclared"]),
        kinds=Bounded.of(assets.kinds()),
        columns=Bounded.of(assets.columns()),
        streams=Bounded.of(assets.streams()),
        zones=Bounded.of(assets.zones()),
        topics=Bounded.of(assets.topics()),
        tables=Bounded.of(assets.tables()),
        models=Bounded.of(assets.models()),
        files=Bounded.of(assets.files()),
        words=Bounded.of(assets.words()),
    )


def newest_policy(store: Store) -> Policy:
    """The newest policy that decided about what the role is shown; InputError if there is none."""
    rows = store.shown("newest_policy").rows
    if not rows:
        raise InputError(
            f"{store.named}: found no policy that decided about what the role is shown, "
            "expected one; ask as another role (--role), or about a policy file (--policy)"
        )
    return StoredPolicies(store.policies).version(rows[0][0])


def _without_labels(
    assets: Assets, policy: Policy, system: System, stored: Sequence[StoredKind]
) -> list[Unlabelled]:
    """What has no label where one is expected."""
    things = [*_kinds_without(assets, policy, system), *_stored_without(assets, system, stored)]
    things += [
        Unlabelled("word", word.word, "it has no term in the table of DPV's words")
        for word in assets.words()
        if not word.term and not word.says
    ]
    things += [
        Unlabelled("model", model.model, "it is stored without a label that its policy can read")
        for model in assets.models()
        if not model.labelled
    ]
    return sorted(things, key=lambda row: (row.thing, row.name))


def _kinds_without(assets: Assets, policy: Policy, system: System) -> Iterator[Unlabelled]:
    """Yield declared kinds without a category, and columns without a unit."""
    told = f"policy {policy.name} {policy.version}"
    unnamed = policy.unnamed(system.kinds)
    for kind in system.kinds.values():
        if kind.name in unnamed:
            yield Unlabelled("kind", kind.name, f"{told} does not name it: its events pass nowhere")
        elif kind.captured and not assets.categories(kind.name):
            yield Unlabelled("kind", kind.name, f"{told} gives it no category")
        for column in kind.unlabelled():
            why = "it holds numbers, its name ends in no unit, and the kind does not list it as unitless"
            yield Unlabelled("column", f"{kind.name}.{column}", why)


def _stored_without(assets: Assets, system: System, stored: Sequence[StoredKind]) -> Iterator[Unlabelled]:
    """Yield what is stored and not declared, and streams of which events are stored without a label."""
    for name in sorted({row.kind for row in stored} - system.kinds.keys()):
        why = "no package that is loaded declares it, so its columns are not known; name one with --extend"
        yield Unlabelled("kind", name, why)
    for name in sorted({row.topic for row in stored if row.topic} - assets.known_topics):
        yield Unlabelled("topic", name, "events are said to lie on it, and the system declares no such topic")
    for stream in assets.streams():
        if stream.unlabelled:
            why = f"{stream.unlabelled:,} of its events are stored without a zone or a label"
            yield Unlabelled("stream", stream.stream, why)
