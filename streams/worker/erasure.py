"""Erase a wearer: numbered steps, each written down when it is done, so that an interrupted one goes on.

1. `requested`: the request is in the key store, before anything is destroyed.
2. `stopped`: the withdrawal and the erasure are on `glasses.consents`. Workers refuse what was captured
   before, and let go of what their states have of it, from the next fetch of each partition on.
3. `unreadable`: the wearer's keys are destroyed, and what wrapped them.
4. `models`: a version serves that learned nothing from the wearer; the next run of training fits one, and
   knows which versions were withdrawn. Where nothing stands in the way, it serves from the third step on.
5. `second`: examples of others that were made with those versions are counted. What becomes of them the
   policy says (`[erasure]`), at the gate of training.
6. `store`: the stores that were named have none of the wearer's rows (`sightline snapshots` does it).
7. `finished`: keys that a worker made meanwhile, for what was on its way, are destroyed too, and the receipt
   is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from streams import clock, files
from streams.consent.record import erasure_record, withdrawal_record
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, SightlineError, UnavailableError, reason
from streams.events.codec import Codec
from streams.events.record import Outgoing, Received
from streams.kafka.publish import publish_now
from streams.limits import ERASURE_SETTLES_S, ERASURE_TRIES
from streams.models.pointer import Rollback, holds, together
from streams.pipeline.going_back import check_permitted
from streams.pipeline.side_inputs import SideInputs
from streams.rights.receipt import new_salt
from streams.rights.signing import ReceiptKey
from streams.sealing.alone import alone
from streams.sealing.erasures import Done, Origin, Requested, Step
from streams.sealing.key_rows import DAYS_MAX
from streams.sealing.key_store import KeyStore, day_of
from streams.settings.kafka import Broker
from streams.training import gate
from streams.worker.bootstrap import consents_of_topic
from streams.worker.erasure_receipt import NO_STORE, receipt_of, refitted_since, scope_of, why_of
from streams.worker.models import going_back, known_models
from streams.worker.sealing import examples_of

log = logging.getLogger(__name__)


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


class Erased(NamedTuple):
    """A finished erasure, the file of its receipt, and the salt by which the wearer recognises it.

    The salt is kept nowhere: it is for the wearer.
    """

    requested: Requested
    receipt: Path
    salt: bytes


class Plan(NamedTuple):
    """What an erasure would do: devices and keys of the wearer, model versions that learned from her.

    `would_serve` is the version that would answer after it, 0 if none may.
    """

    devices: tuple[str, ...]
    keys: int
    versions: tuple[int, ...]
    serving: int
    would_serve: int


async def planned(place: Place, keys: KeyStore, wearer: str, since_ns: int = 0) -> Plan:
    """Say what `erase_wearer` would do; errors are its own."""
    consents = await consents_of_topic(place.broker)
    await asyncio.to_thread(_check_known, consents, keys, wearer)
    side, _ = await known_models(place.broker)
    knowing = _knowing(side, wearer, since_ns)
    would_serve = side.models.serving
    if would_serve in knowing:
        would_serve = next(iter(await _permitted(place, side, knowing)), 0)
    devices = tuple(consents.devices_of(wearer))
    count = await asyncio.to_thread(keys.count_of, wearer, from_day=day_of(since_ns))
    return Plan(devices, count, tuple(sorted(knowing)), side.models.serving, would_serve)


async def erase_wearer(
    place: Place,
    keys: KeyStore,
    wearer: str,
    after_step: Callable[[Requested], None],
    *,
    origin: Origin = "operator",
    asked_ns: int = 0,
    since_ns: int | None = None,
) -> Erased:
    """Erase a wearer, or go on with an erasure that was interrupted; `after_step` is called after each step.

    `origin` says who asked for it, and `asked_ns` when, if not now. What was captured before `since_ns`, the
    beginning of a day as keys have it, stays, and its use ends too; None: as the interrupted one has it, or
    nothing stays.

    InputError if nothing of the wearer is known: a misspelt name must not look like an erasure; if one of
    another scope was interrupted; or if the key store is not that of the topics.
    UnavailableError if the broker or the key store is away, if another process carries it out, or if no model
    version may serve without the wearer; what was done stays done, and the next call goes on.
    """
    consents = await consents_of_topic(place.broker)
    if not any(each.wearer == wearer for each in keys.erasures.all()):
        await asyncio.to_thread(_check_known, consents, keys, wearer)
    keys.refuse_foreign([erasure.mark for erasure in consents.erasures()])
    at_ns = asked_ns or clock.now_ns()
    requested = keys.erasures.request(wearer, keys.mark_of(wearer), at_ns, origin, since_ns or 0)
    if since_ns is not None and requested.since_ns != since_ns:
        raise InputError(
            f"erasure {requested.number}: found one of this wearer that was interrupted, of scope "
            f"{scope_of(requested)}, expected that one to be finished first; nothing was changed. Erase with "
            "that scope, then with this one"
        )
    with alone(keys.path.parent, requested.number):
        # As it is now: until a moment ago another process may have carried it out.
        return await _carried_out(place, keys, consents, keys.erasures.of(requested.number), after_step)


async def _carried_out(
    place: Place,
    keys: KeyStore,
    consents: Consents,
    requested: Requested,
    after_step: Callable[[Requested], None],
) -> Erased:
    if requested.next_step is None:
        raise UnavailableError(
            f"erasure {requested.number}: found it finished by another process, expected it to go on; its "
            "receipt and the salt are where that one wrote them"
        )
    salt, receipt = new_salt(), place.receipt or place.receipts / f"erasure-{requested.number}.json"
    acts: dict[Step, Callable[[Requested], Awaitable[Done]]] = {
        "stopped": lambda of: _stop(place, consents, of),
        "unreadable": lambda of: _destroy(place, keys, of),
        "models": lambda of: _go_back(place, of),
        "second": lambda of: _count_second(place, of),
        "store": lambda of: _wait(place, of),
        "finished": lambda of: _finish(place, keys, of, receipt, salt),
    }
    after_step(requested)
    while (step := requested.next_step) is not None:
        requested = keys.erasures.done(requested.number, step, await acts[step](requested))
        after_step(requested)
    return Erased(requested, receipt, salt)


def _check_known(consents: Consents, keys: KeyStore, wearer: str) -> None:
    named = any(of == wearer for _, of in consents.pairings)
    if named or wearer in keys.wearers() or consents.words_of(wearer):
        return
    raise InputError(
        f"wearer {wearer}: found no pairing, word or key of that name, expected one whom the topics know; "
        "nothing is erased. `sightline consent show` tells whether a name is right"
    )


async def _stop(place: Place, consents: Consents, of: Requested) -> Done:
    """Publish the withdrawal and the erasure; the time is the append time, up to which all is erased."""
    for erasure in consents.erasures():
        if erasure.number == of.number:
            return Done(erasure.at_ns, 0)
    words = consents.words_of(of.wearer)
    records = [withdrawal_record(of.wearer, sum(not word.device for word in words))] if words else []
    *_, written = await publish_now(place.broker, [*records, erasure_record(of.mark, of.number, of.since_ns)])
    return Done(written.appended_ns, len(records))


async def _destroy(place: Place, keys: KeyStore, of: Requested) -> Done:
    """Destroy the wearer's keys once workers know of the erasure, so that they make no new ones.

    If the wearer has given consent again since, as it may be when an interrupted erasure goes on, keys of
    later days stay. Meanwhile another version serves already.
    """
    await asyncio.gather(asyncio.sleep(ERASURE_SETTLES_S), _go_back_early(place, of))
    stopped_ns = of.steps["stopped"].at_ns
    again = _given_since(await consents_of_topic(place.broker), of)
    until_day = day_of(stopped_ns) if again else DAYS_MAX
    count = await asyncio.to_thread(_destroyed, keys, of, until_day)
    return Done(clock.now_ns(), count)


def _destroyed(keys: KeyStore, of: Requested, until_day: int) -> int:
    """Destroy keys of a wearer, and what wrapped them; returns their number."""
    count = keys.erase(of.wearer, clock.now_ns(), from_day=day_of(of.since_ns), until_day=until_day)
    keys.settle()
    return count


def _given_since(consents: Consents, of: Requested) -> bool:
    """Whether the wearer has given consent since the erasure."""
    stopped_ns = of.steps["stopped"].at_ns
    return any(word.at_ns > stopped_ns and word.purposes for word in consents.words_of(of.wearer))


async def _go_back_early(place: Place, of: Requested) -> None:
    """Let another version serve if it is possible now; the step `models` sees to it that one does.

    What stands in the way of that must not keep keys from being destroyed.
    """
    try:
        later = _given_later(await consents_of_topic(place.broker), of)
        side, records = await known_models(place.broker)
        knowing = _knowing(side, of.wearer, of.since_ns, later)
        if knowing & {side.models.serving, side.models.candidate}:
            await publish_now(place.broker, await _pointer(place, of, side, records, knowing))
    except SightlineError as error:
        log.info("Erasure %d: no other model serves yet: %s", of.number, reason(error))


async def _go_back(place: Place, of: Requested) -> Done:
    """Let a version serve that learned nothing from the wearer; count the versions withdrawn by it."""
    _, withdrawn = await _served(place, of, await consents_of_topic(place.broker))
    return Done(clock.now_ns(), len(withdrawn))


async def _served(place: Place, of: Requested, consents: Consents) -> tuple[SideInputs, set[int]]:
    """What is known once a version serves that learned nothing from the wearer, and those that did.

    A run that was under way can promote another one, so it is looked at again.
    """
    withdrawn, later = set[int](), _given_later(consents, of)
    for _ in range(ERASURE_TRIES):
        side, records = await known_models(place.broker)
        knowing = _knowing(side, of.wearer, of.since_ns, later)
        withdrawn |= knowing
        back = side.models.rollback
        told = back.withdrawn if back is not None else ()
        if not knowing & {side.models.serving, side.models.candidate} and all(
            holds(told, version) for version in knowing
        ):
            return side, withdrawn
        await publish_now(place.broker, await _pointer(place, of, side, records, knowing))
        await asyncio.sleep(ERASURE_SETTLES_S)
    raise UnavailableError(
        f"erasure {of.number}: after {ERASURE_TRIES} attempts a model version still serves that learned from "
        "the wearer, expected training to have read the erasure; does its worker run? Erase again to go on"
    )


def _knowing(side: SideInputs, wearer: str, since_ns: int, later: Collection[int] = ()) -> set[int]:
    """Versions that learned from a wearer, but for those that did so under `later` consent records alone.

    What was trained before a time learned nothing that was captured from then on.
    """
    versions = side.models.versions.items()
    return {
        number
        for number, each in versions
        if each.trained_ns >= since_ns and {*each.manifest.wearers.get(wearer, ())} - {*later}
    }


def _given_later(consents: Consents, of: Requested) -> set[int]:
    """Numbers of consent records that the wearer gave after the erasure, and on no device before."""
    words, stopped_ns = consents.words_of(of.wearer), of.steps["stopped"].at_ns
    before = {word.number for word in words if word.at_ns <= stopped_ns}
    return {word.number for word in words if word.at_ns > stopped_ns} - before


async def _pointer(
    place: Place, of: Requested, side: SideInputs, records: Sequence[Received], knowing: set[int]
) -> list[Outgoing]:
    """Records that go back to the newest version that learned nothing from the wearer and may serve.

    One that serves goes on. They tell training all versions that were withdrawn, by earlier erasures too.
    """
    serving, before = side.models.serving, side.models.rollback
    withdrawn = together(
        before.withdrawn if before is not None else (), tuple((version, version) for version in knowing)
    )
    permitted = [serving] if serving not in knowing else await _permitted(place, side, knowing)
    for number in permitted:
        at_ns = clock.now_ns()
        back = Rollback(number, serving, why_of(of.number), at_ns, erasure=True, withdrawn=withdrawn)
        return going_back(records, back)
    raise UnavailableError(
        f"erasure {of.number}: found no model version that may serve without the wearer, expected at least "
        "that of the licensed seed; publish a policy that permits it, then erase again"
    )


async def _permitted(place: Place, side: SideInputs, knowing: set[int]) -> list[int]:
    """Versions up to the one that serves that may serve and learned nothing from the wearer, newest first."""
    policy, now_ns = side.policies.version(side.policies.current), clock.now_ns()
    history = await examples_of(place.broker, place.directory, policy, "sightline rights erase")
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


async def _count_second(place: Place, of: Requested) -> Done:
    """Count examples of others that were made with a version that was withdrawn."""
    consents = await consents_of_topic(place.broker)
    side, _ = await known_models(place.broker)
    policy = side.policies.version(side.policies.current)
    knowing = _knowing(side, of.wearer, of.since_ns, _given_later(consents, of))
    made = set[str]()
    for record in await examples_of(place.broker, place.directory, policy, "sightline rights erase"):
        with contextlib.suppress(MalformedError):
            batch, *_ = gate.read(record, place.codec)
            if batch.wearer_id != of.wearer and knowing & gate.versions_of(record, batch):
                made.add(batch.first_id)
    return Done(clock.now_ns(), len(made))


async def _wait(place: Place, of: Requested) -> Done:
    rows = NO_STORE if place.stores is None else await place.stores(of.number)
    return Done(clock.now_ns(), rows)


async def _finish(place: Place, keys: KeyStore, of: Requested, receipt: Path, salt: bytes) -> Done:
    """Destroy keys that were made while the erasure went on, and write the receipt.

    The keys stay if the wearer has given consent again since.
    """
    consents = await consents_of_topic(place.broker)
    count = 0
    if not _given_since(consents, of):
        count = await asyncio.to_thread(_destroyed, keys, of, DAYS_MAX)
    # A training run that was under way may have promoted a version since.
    side, _ = await _served(place, of, consents)
    done = Done(clock.now_ns(), count)
    made = receipt_of(
        of,
        done,
        wearer=of.wearer,
        salt=salt,
        policy_version=side.policies.current,
        second_order=side.policies.version(side.policies.current).second_order,
        lines=None if place.lines is None else await place.lines(of.number),
        refitted=refitted_since(side.models, of.number, of.steps["stopped"].at_ns),
    )
    # Every text in it is one of ours, in which a wearer who is called `store` is not named.
    signed = ReceiptKey.made(place.directory).sign(made, ())
    with files.written(receipt) as file:
        file.write(signed)
    return done
