"""Which model versions an erasure withdraws, which one serves instead, and what is left of those."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streams import clock
from streams.consent.erased import Erasure, Mark, Scope
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.codec import Codec
from streams.events.record import Outgoing, Received, stamp_ns
from streams.kafka.publish import publish_now
from streams.models.pointer import Rollback, together
from streams.models.version import ModelVersion, ids_of
from streams.models.withdrawn import Withdrawn
from streams.pipeline.going_back import check_permitted
from streams.pipeline.side_inputs import SideInputs
from streams.sealing.erasures import Requested
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.training import gate
from streams.worker.erasure_receipt import why_of
from streams.worker.made_there import MadeThere, made_there
from streams.worker.models import going_back, known_models, learned_from, taken_off
from streams.worker.sealing import examples_by_key, examples_of, labelled_by_key

log = logging.getLogger(__name__)

#: Who asks for the keys of examples.
PRINCIPAL = "sightline rights erase"


class Place(NamedTuple):
    """Where an erasure acts: the broker, the directory of the key store, the stores, and the receipt's file.

    Without `receipt` the file is called after the number of the erasure, in the directory `receipts`.
    `stores` waits until stores have applied the erasure of a number, and returns how many rows went; None if
    nobody waits for one. `lines` counts what it changed in the audit log; None if nobody can tell.
    """

    broker: Broker
    directory: Path
    codec: Codec
    stores: Callable[[int], Awaitable[int]] | None
    receipt: Path | None = None
    lines: Callable[[int], Awaitable[int]] | None = None
    receipts: Path = Path()


async def made_of(
    place: Place, side: SideInputs, consents: Consents, wearer: str, scope: Scope, *, labelled: bool = False
) -> MadeThere:
    """Examples that were made of what is in the spans of a scope; none if it names no place.

    With `labelled` the keys are also those of all else that was sealed of it, because a label owes that.
    """
    if not scope.place:
        return MadeThere()
    policy = side.policies.version(side.policies.current)
    records = await examples_by_key(place.broker, place.directory, policy, PRINCIPAL)
    devices = {device for device, of in consents.pairings if of == wearer}
    others = list[tuple[str, Received, int]]()
    if labelled:
        others = await labelled_by_key(place.broker, place.directory, policy, PRINCIPAL, wearer)
    return made_there(records, place.codec, wearer, devices, scope, others)


def knowing_of(
    side: SideInputs, wearer: str, scope: Scope, made: MadeThere, later: Collection[int] = ()
) -> set[int]:
    """Versions that learned from a wearer, but for those that did so under `later` consent records alone.

    Of a place it is those that learned from an example which was made there.
    """
    if scope.place:
        return {number for number, each in side.models.versions.items() if made.taught(each)}
    return learned_from(side.models, wearer, scope.since_ns, later)


def given_later(consents: Consents, of: Requested) -> set[int]:
    """Numbers of consent records that the wearer gave after the erasure, and on no device before."""
    words, stopped_ns = consents.words_of(of.wearer), of.steps["stopped"].at_ns
    before = {word.number for word in words if word.at_ns <= stopped_ns}
    return {word.number for word in words if word.at_ns > stopped_ns} - before


async def pointer_of(
    place: Place, of: Requested, side: SideInputs, records: Sequence[Received], knowing: set[int]
) -> list[Outgoing]:
    """Records that go back to the newest version that learned nothing from the wearer and may serve.

    One that serves goes on. They tell training all versions that were withdrawn, by earlier erasures too.
    """
    serving, before = side.models.serving, side.models.rollback
    withdrawn = together(
        before.withdrawn if before is not None else (), tuple((version, version) for version in knowing)
    )
    permitted = [serving] if serving not in knowing else await permitted_of(place, side, knowing)
    for number in permitted:
        at_ns = clock.now_ns()
        back = Rollback(number, serving, why_of(of.number), at_ns, erasure=True, withdrawn=withdrawn)
        return going_back(records, back)
    raise UnavailableError(
        f"erasure {of.number}: found no model version that may serve without the wearer, expected at least "
        "that of the licensed seed; publish a policy that permits it, then erase again"
    )


async def permitted_of(place: Place, side: SideInputs, knowing: set[int]) -> list[int]:
    """Versions up to the one that serves that may serve and learned nothing from the wearer, newest first."""
    policy, now_ns = side.policies.version(side.policies.current), clock.now_ns()
    history = await examples_of(place.broker, place.directory, policy, PRINCIPAL)
    permitted = list[int]()
    for number, version in sorted(side.models.versions.items(), reverse=True):
        if version.declined or number in knowing or number > side.models.serving:
            continue
        try:
            check_permitted(version, side, history, place.codec, now_ns)
        except InputError as error:
            log.info("Not gone back to: %s", error)
        else:
            permitted.append(number)
    return permitted


async def take_off(
    place: Place, keys: KeyStore, of: Requested, consents: Consents, withdrawn: Collection[int]
) -> None:
    """Replace the values of versions that erasures withdrew; workers have read before that another serves.

    An erasure of a place takes no wearer's name off: what they learned from the wearer elsewhere stays.
    """
    erasures = [each for each in consents.erasures() if each.at_place is None]
    side, records = await known_models(place.broker)
    examples = dict[str, dict[str, int]]()
    if any(each.since_ns for each in erasures):
        policy = side.policies.version(side.policies.current)
        examples = times_of(await examples_of(place.broker, place.directory, policy, PRINCIPAL), place.codec)
    is_erased = whose_is_erased(of, withdrawn, erasures, keys.mark_of, examples)
    if gone := taken_off(records, side.models, why_of(of.number), is_erased):
        await publish_now(place.broker, gone)


def times_of(history: Sequence[Received], codec: Codec) -> dict[str, dict[str, int]]:
    """Of each wearer the examples that are there, by id, with the time (ns) of the newest that is in each."""
    times = dict[str, dict[str, int]]()
    for record in history:
        with contextlib.suppress(MalformedError):
            batch, *_ = gate.read(record, codec)
            newest_ns = max(batch.last_ns, stamp_ns(record))
            times.setdefault(batch.wearer_id, {})[batch.first_id] = newest_ns
    return times


def whose_is_erased(
    of: Requested,
    withdrawn: Collection[int],
    erasures: Sequence[Erasure],
    mark: Mark,
    examples: Mapping[str, Mapping[str, int]],
) -> Callable[[str, ModelVersion | Withdrawn], bool]:
    """Make a function that says whether all is erased that a version learned from a wearer.

    An erasure that begins with a day leaves what is older: a version that learned from that as well keeps
    saying so, for what it learned from stays in the store, and a later erasure may take it. `examples` are
    those of `times_of`. What an earlier erasure left of a version does not say from which examples it
    learned; so a wearer whom it names stays named until all of hers is erased.
    """

    def is_erased(wearer: str, version: ModelVersion | Withdrawn) -> bool:
        named, at_ns = mark(wearer), version.trained_ns
        begins_ns = [
            each.since_ns for each in erasures if each.mark == named and each.since_ns <= at_ns <= each.at_ns
        ]
        if wearer == of.wearer and not of.scope.place and version.version in withdrawn:
            begins_ns.append(of.scope.since_ns)
        if not begins_ns or not min(begins_ns):
            return bool(begins_ns)
        if isinstance(version, Withdrawn):
            return False
        since_ns, known = min(begins_ns), examples.get(wearer, {})
        return all(known.get(name, since_ns) >= since_ns for name in ids_of(version.manifest.admitted))

    return is_erased
