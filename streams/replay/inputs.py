"""The recorded inputs of a store: what entered a live pipeline by chance, as a replay of it needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.limits import NUMBER_MAX
from streams.pipeline import EXAMPLE_ORDER
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.queries.store import Store


@dataclass(frozen=True, slots=True)
class TakeUp:
    """From `offset` of a partition of `glasses.captured` on, model `version` served."""

    offset: int
    version: int


@dataclass(frozen=True, slots=True)
class ExampleOrder:
    """One fetch of `glasses.examples`: its first offset, the time of its first record (ms since the epoch), its ids in order."""

    offset: int
    timestamp_ms: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All recorded inputs of one store: the policy and when it was published (ns since the epoch), take-ups by partition, orders."""

    policy: Policy
    published_ns: int
    take_ups: Mapping[int, tuple[TakeUp, ...]]
    orders: tuple[ExampleOrder, ...]


def read_inputs(directory: Path) -> Inputs:
    """Read the recorded inputs from the newest published epoch of the store in `directory`.

    Raises
    ------
    InputError
        They contradict one another, are not complete, or name a policy that the store does not hold.
    UnavailableError
        There is no store, or no epoch.
    """
    with Store.open(directory) as store:
        policies = store.sql("SELECT version, text, published_ns FROM policies", NUMBER_MAX).rows
        rows = store.sql('SELECT kind, "partition", "offset", value, t_ns FROM inputs', NUMBER_MAX).rows
    return inputs_of(str(directory), policies, rows)


def inputs_of(name: str, policies: Iterable[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> Inputs:
    """Inputs from rows of `policies` (version, text, published_ns) and `inputs` (kind, partition, offset, value, t_ns) of store `name`."""
    in_force = {value for kind, _, _, value, _ in rows if kind == "policy"}
    held = [(text, published_ns) for version, text, published_ns in policies if version in in_force]
    if len(in_force) != 1 or len(held) != 1:
        raise InputError(f"{name}: found {len(in_force)} policies among the recorded inputs and the text of {len(held)} of them, "
                         "expected one that was in force all the time; name the store that the live pipeline wrote")
    text, published_ns = held[0]
    take_ups: dict[int, dict[int, int]] = {}
    for _, partition, offset, value, _ in _of_kind(rows, "model-takeup"):
        if take_ups.setdefault(partition, {}).setdefault(offset, int(value)) != int(value):
            raise InputError(f"{name}: found two model versions that were taken up at offset {offset} of partition {partition}, "
                             "expected one; two pipelines wrote into this store")
    orders = tuple(ExampleOrder(offset, t_ns // 1_000_000, tuple(value.split(" ")))
                   for _, _, offset, value, t_ns in sorted(_of_kind(rows, EXAMPLE_ORDER)))
    return Inputs(parse(text, f"the policy of {name}"), published_ns,
                  {partition: tuple(TakeUp(*one) for one in sorted(found.items())) for partition, found in take_ups.items()}, orders)


def _of_kind(rows: Iterable[tuple[Any, ...]], kind: str) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[0] == kind]
