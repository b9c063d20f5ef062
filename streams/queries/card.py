"""The question `card`: a model card of one version, with what Mitchell et al. ask for, from the store.

M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019: details, intended use, data, evaluation,
limits. Nothing in it is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET, Struct, UnsetType, json

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.label import NATURES, unpack
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.about import known
from streams.queries.answers import Answer, Bounded
from streams.queries.models import answers_given, has_view
from streams.queries.role import SHOWN_TO
from streams.queries.rows import CardRow
from streams.queries.store import Store


class ToldCheck(Struct, frozen=True):
    """What a training run looked at in its examples: `examples` of `judged`, and the bound in percent."""

    name: str
    subject: str
    examples: int
    judged: int
    percent: float
    percent_max: float
    outcome: str


class ToldAsset(Struct, frozen=True):
    """What a version was made from as a whole: a licensed file, a stream of examples, or the code."""

    kind: str
    name: str
    licence: str
    examples: int
    digest: str


class Card(Answer, frozen=True, kw_only=True):
    """A model card. `may` has what the label permits and owes, in the words of the policy.

    `data` and `judged` are unset for a role that is not shown training runs, and where the store lacks them;
    `policy` and `may` where it lacks the policy. `withdrawn` says by which erasure it was withdrawn and when;
    unset if it was not, and for a role that is not shown inputs.
    """

    id: str
    epoch: int
    trained: str
    retrain_by: str
    zone: str
    policy: str | UnsetType = UNSET
    policy_version: str
    digest: str
    bytes: int
    answers: int
    accuracy: float
    withdrawn: str | UnsetType = UNSET
    may: Mapping[str, object] | UnsetType = UNSET
    data: Mapping[str, object] | UnsetType = UNSET
    judged: Mapping[str, object] | UnsetType = UNSET
    assets: Bounded[ToldAsset]
    checks: Bounded[ToldCheck]


def card(store: Store, identity: str) -> Card:
    """Return what a model version is, what it was made of, how it was judged, and what may be done with it.

    InputError if `identity` is no model version that the role may see.
    """
    event = known(store, identity)
    about = {"source": event.source, "stream": event.stream, "version": event.number}
    rows = store.sift(store.query("card", about).of(CardRow), "models", counted=False)
    if not rows:
        raise InputError(
            f"{event}: found an event that is no model version, expected one, such as "
            "training/intent-model/3; `sightline ask find --kind model` lists them"
        )
    row = rows[0]
    sees_runs = store.role_filter is None or store.role_filter.role.name in SHOWN_TO["training_runs"]
    policy = _policy(store, row.policy_version)
    given = answers_given(store, {(event.source, event.stream): event.number})
    return Card(
        id=str(event),
        epoch=store.epoch,
        trained=rfc3339(row.trained_ns),
        retrain_by=rfc3339(row.retrain_by_ns),
        zone=row.zone,
        policy=UNSET if policy is None else policy.name,
        policy_version=row.policy_version,
        digest=row.digest,
        bytes=row.bytes,
        answers=given[(event.source, event.stream), event.number],
        accuracy=row.accuracy,
        withdrawn=_withdrawn(store, event.number),
        may=UNSET if policy is None or not row.label else _may(policy, bytes.fromhex(row.label)),
        data=_data(row) if sees_runs else UNSET,
        judged=_judged(store, event.number) if sees_runs else UNSET,
        assets=Bounded.of(_assets(store, event.number) if sees_runs else []),
        checks=Bounded.of(_checks(store, event.number) if sees_runs else []),
    )


def _policy(store: Store, version: str) -> Policy | None:
    """The policy that a version was made under; None if the store does not have its text."""
    try:
        return StoredPolicies(store.policies).version(version)
    except InputError:
        return None


def _may(policy: Policy, label: bytes) -> dict[str, object]:
    """What a label permits and owes, in the words of its policy."""
    words, value = policy.vocabulary, unpack(label)
    return {
        **{name: ", ".join(some) for name, some in words.says(label).items()},
        "retention": words.retention(label),
        "nature": NATURES[value["nature"]],
    }


def _data(row: CardRow) -> dict[str, object] | UnsetType:
    """What the version was made from; unset if its run is not in the store."""
    if row.admitted is None:
        return UNSET
    return {
        "seed_examples": row.seed_examples,
        "examples": row.admitted,
        "wearers": row.wearers,
        "refused": row.refused,
        "manifest_digest": row.manifest_digest,
        "trigger": row.trigger,
    }


def _judged(store: Store, version: int) -> dict[str, object] | UnsetType:
    """How the version was compared; unset if it was not, or by a store of before."""
    rows = store.query("card_judged", {"version": version}).dicts() if has_view(store, "promotions") else []
    return rows[0] if rows else UNSET


class _Back(Struct, frozen=True):
    """A recorded return to an earlier version; `withdrawn` are runs (first, last) of versions."""

    why: str
    withdrawn: tuple[tuple[int, int], ...] = ()


def _withdrawn(store: Store, version: int) -> str | UnsetType:
    """By which erasure the version was withdrawn, and when."""
    if store.role_filter is not None and store.role_filter.role.name not in SHOWN_TO["inputs"]:
        return UNSET
    for value, t_ns in store.query("card_withdrawn").rows:
        back = json.decode(value, type=_Back)
        if any(first <= version <= last for first, last in back.withdrawn):
            return f"{back.why}, {rfc3339(t_ns)}"
    return UNSET


def _assets(store: Store, version: int) -> list[ToldAsset]:
    """What its run was made from; nothing for a store of before."""
    if not has_view(store, "training_assets"):
        return []
    return [ToldAsset(**row) for row in store.query("card_assets", {"version": version}).dicts()]


def _checks(store: Store, version: int) -> list[ToldCheck]:
    """What its run looked at; nothing for a store of before."""
    if not has_view(store, "training_checks"):
        return []
    return [
        ToldCheck(percent=round(100 * row["examples"] / row["judged"], 2) if row["judged"] else 0.0, **row)
        for row in store.query("card_checks", {"version": version}).dicts()
    ]
