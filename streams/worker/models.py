"""The model versions, policies and consents on the topics, read once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import structs

from streams import clock
from streams.errors import InputError, MalformedError
from streams.events.record import Outgoing, Received
from streams.kafka.reader import read_all
from streams.models.pointer import Pointer, Rollback, holds
from streams.models.registry import ModelTable, ModelVersions
from streams.models.version import ModelVersion, version_key
from streams.models.withdrawn import Withdrawn
from streams.pipeline.made_version import pointer_to
from streams.pipeline.side_inputs import SideInputs
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions
from streams.settings.kafka import Broker
from streams.topology import MODELS, POLICIES
from streams.training.check import can_serve
from streams.worker.checking import Checker
from streams.worker.on_topics import consents_of_topic, in_force_since, policies_of


async def known_models(broker: Broker) -> tuple[SideInputs, Sequence[Received]]:
    """The policies, models and consents on the topics, and the records of `glasses.models`.

    InputError if no policy is in force.
    """
    with contextlib.closing(Checker()) as checker:
        policies = (await policies_of(await read_all(broker, POLICIES), checker)).now
    if not policies.current:
        raise none_in_force(broker)
    records = await read_all(broker, MODELS)
    models = _models_of(records, policies)
    return SideInputs(policies, models.now, (await consents_of_topic(broker)).view()), records


def none_in_force(broker: Broker) -> InputError:
    """Error for topics on which no worker ever started."""
    return InputError(f"{POLICIES} on {broker} holds no policy in force; `sightline worker` publishes one")


async def put_in_force(broker: Broker) -> list[tuple[int, Policy]]:
    """The policies that were ever put in force on a broker, with the times (ns) of that, oldest first.

    InputError if there is none; UnavailableError if the broker is absent.
    """
    with contextlib.closing(Checker()) as checker:
        policies = await in_force_since(await read_all(broker, POLICIES), checker)
    if not policies:
        raise none_in_force(broker)
    return policies


def going_back(records: Sequence[Received], back: Rollback) -> list[Outgoing]:
    """Records for `glasses.models`, whose records are given, by which an earlier version serves again.

    The version is written again, because workers may have it no longer in memory.
    """
    pointer, key = pointer_to(Pointer(back.version, back), back.at_ns), version_key(back.version)
    *_, again = (record for record in records if record.key == key)
    return [Outgoing(MODELS, 0, key, again.value, tuple(again.headers), pointer.timestamp_ms), pointer]


def learned_from(models: ModelVersions, wearer: str, since_ns: int, later: Collection[int] = ()) -> set[int]:
    """Versions that learned from a wearer, but for those that did so under `later` consent records alone.

    What was trained before a time learned nothing that was captured from then on.
    """
    known: list[tuple[ModelVersion | Withdrawn, Mapping[str, Sequence[int]]]] = [
        *((each, each.manifest.wearers) for each in models.versions.values()),
        *((each, each.wearers) for each in models.withdrawn.values()),
    ]
    return {
        each.version
        for each, wearers in known
        if each.trained_ns >= since_ns and {*wearers.get(wearer, ())} - {*later}
    }


def taken_off(
    records: Sequence[Received],
    models: ModelVersions,
    why: str,
    is_erased: Callable[[str, ModelVersion | Withdrawn], bool],
) -> list[Outgoing]:
    """Records for `glasses.models`, whose records are given, by which the values of withdrawn versions go.

    They are those of the last rollback, for the reason `why`. `is_erased` tells whether what a version
    learned from a wearer is erased; the others stay named in what is left of it.
    """
    told = models.rollback.withdrawn if models.rollback is not None else ()
    gone, last = list[Withdrawn](), {record.key: record for record in records}
    for number, version in models.versions.items():
        if holds(told, number) and number != models.serving:
            named = version.manifest.wearers
            gone.append(Withdrawn.of(version, why, [each for each in named if is_erased(each, version)]))
    for number, before in models.withdrawn.items():
        wearers = {each: given for each, given in before.wearers.items() if not is_erased(each, before)}
        again = not Withdrawn.begins(last[version_key(number)].value)
        if again or wearers != before.wearers:
            gone.append(structs.replace(before, wearers=wearers))
    stamp = clock.now_ns() // 1_000_000
    kind = (("content-type", b"application/json"),)
    return [Outgoing(MODELS, 0, version_key(each.version), each.dump(), kind, stamp) for each in gone]


def _models_of(records: Sequence[Received], policies: PolicyVersions) -> ModelTable:
    """The versions on the topic; what is malformed is passed over, as workers do."""
    models = ModelTable(lambda version: can_serve(version, policies.versions))
    for record in records:
        with contextlib.suppress(MalformedError):
            models.learn(record.key, record.value)
    return models
