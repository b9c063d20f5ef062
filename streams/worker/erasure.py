"""Erase a wearer: numbered steps, each written down when it is done, so that an interrupted one goes on.

1. `requested`: the request is in the key store, before anything is destroyed.
2. `stopped`: the withdrawal and the erasure are on `glasses.consents`. Workers refuse what was captured
   before, and let go of what their states have of it, from the next fetch of each partition on. An erasure of
   a place withdraws nothing: what was captured elsewhere is used as before.
3. `unreadable`: the wearer's keys are destroyed, and what wrapped them. Of a place, those under which
   something is sealed that was captured there, or made of that (`streams.worker.made_there`).
4. `models`: a version serves that learned nothing from the wearer; the next run of training fits one, and
   knows which versions were withdrawn. Where nothing stands in the way, it serves from the third step on.
5. `second`: examples of others that were made with those versions are counted. What becomes of them the
   policy says (`[erasure]`), at the gate of training.
6. `store`: the stores that were named have none of the wearer's rows (`sightline snapshots` does it).
7. `finished`: keys that a worker made meanwhile, for what was on its way, are destroyed too, the values of
   the versions that were withdrawn are taken off the topic, and the receipt is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from streams import clock, files
from streams.consent.erased import ALL, Scope
from streams.consent.record import erasure_record, withdrawal_record
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, SightlineError, UnavailableError, reason
from streams.kafka.publish import publish_now
from streams.limits import ERASED_KEYS_MAX, ERASURE_SETTLES_S, ERASURE_TRIES
from streams.models.pointer import holds
from streams.pipeline.side_inputs import SideInputs
from streams.rights.receipt import new_salt
from streams.rights.signing import ReceiptKey
from streams.sealing.alone import alone
from streams.sealing.erasures import Done, Origin, Requested, Step
from streams.sealing.key_rows import DAYS_MAX
from streams.sealing.key_store import KeyStore, day_of
from streams.settings.kafka import Broker
from streams.topology import SEALABLE, SEALED
from streams.training import gate
from streams.worker.erasure_models import (
    PRINCIPAL,
    Place,
    given_later,
    knowing_of,
    made_of,
    permitted_of,
    pointer_of,
    take_off,
)
from streams.worker.erasure_receipt import (
    NO_STORE,
    Sealed,
    receipt_of,
    refitted_since,
    sealed_since,
    text_of,
)
from streams.worker.made_there import MadeThere
from streams.worker.models import known_models, put_in_force
from streams.worker.on_topics import consents_of_topic
from streams.worker.sealing import examples_of

log = logging.getLogger(__name__)


class Erased(NamedTuple):
    """A finished erasure, the file of its receipt, and the salt by which the wearer recognises it.

    The salt is kept nowhere: it is for the wearer.
    """

    requested: Requested
    receipt: Path
    salt: bytes


class Plan(NamedTuple):
    """What an erasure would do: devices and keys of the wearer, model versions that learned from her.

    `would_serve` is the version that would answer after it, 0 if none may. `made` are the examples that were
    made of what was captured at a place, if the scope names one.
    """

    devices: tuple[str, ...]
    keys: int
    versions: tuple[int, ...]
    serving: int
    would_serve: int
    made: MadeThere


async def planned(place: Place, keys: KeyStore, wearer: str, scope: Scope = ALL) -> Plan:
    """Say what `erase_wearer` would do; errors are its own."""
    consents = await consents_of_topic(place.broker)
    await asyncio.to_thread(_check_known, consents, keys, wearer)
    side, _ = await known_models(place.broker)
    made = await made_of(place, side, consents, wearer, scope, labelled=True)
    knowing = knowing_of(side, wearer, scope, made)
    would_serve = side.models.serving
    if would_serve in knowing:
        would_serve = next(iter(await permitted_of(place, side, knowing)), 0)
    devices = tuple(consents.devices_of(wearer))
    count = len(made.keys)
    if not scope.place:
        count = await asyncio.to_thread(keys.count_of, wearer, from_day=day_of(scope.since_ns))
    return Plan(devices, count, tuple(sorted(knowing)), side.models.serving, would_serve, made)


async def erase_wearer(
    place: Place,
    keys: KeyStore,
    wearer: str,
    after_step: Callable[[Requested], None],
    *,
    origin: Origin = "operator",
    asked_ns: int = 0,
    scope: Scope | None = None,
) -> Erased:
    """Erase a wearer, or go on with an erasure that was interrupted; `after_step` is called after each step.

    `origin` says who asked for it, and `asked_ns` when, if not now. `scope` is what it takes, from the
    beginning of a day on, as keys have it, or with spans if it names a place; its keys are found here. None:
    as the interrupted one has it, or everything. What else a wearer captured before stays; its use ends too,
    unless the scope names a place.

    InputError if nothing of the wearer is known: a misspelt name must not look like an erasure; if one of
    another scope was interrupted; or if the key store is not that of the topics.
    UnavailableError if the broker or the key store is away, if another process carries it out, or if no model
    version may serve without the wearer; what was done stays done, and the next call goes on.
    """
    consents = await consents_of_topic(place.broker)
    if not any(each.wearer == wearer for each in keys.erasures.all()):
        await asyncio.to_thread(_check_known, consents, keys, wearer)
    keys.refuse_foreign(consents.erasures())
    at_ns = asked_ns or clock.now_ns()
    wanted = scope or ALL
    if wanted.place and not any(each.wearer == wearer for each in keys.erasures.all()):
        side, _ = await known_models(place.broker)
        made = await made_of(place, side, consents, wearer, wanted, labelled=True)
        wanted = structs.replace(wanted, keys=tuple(sorted(made.keys)))
        _check_stated(wanted)
    requested = keys.erasures.request(wearer, keys.mark_of(wearer), at_ns, origin, wanted)
    if scope is not None and not requested.scope.same(scope):
        raise InputError(
            f"erasure {requested.number}: found one of this wearer that was interrupted, of scope "
            f"{text_of(requested.scope)}, expected that one to be finished first; nothing was changed. "
            "Erase with that scope, then with this one"
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
    words = [] if of.scope.place else consents.words_of(of.wearer)
    records = [withdrawal_record(of.wearer, sum(not word.device for word in words))] if words else []
    *_, written = await publish_now(place.broker, [*records, erasure_record(of.mark, of.number, of.scope)])
    return Done(written.appended_ns, len(records))


async def _destroy(place: Place, keys: KeyStore, of: Requested) -> Done:
    """Destroy the wearer's keys once workers know of the erasure, so that they make no new ones.

    If the wearer has given consent again since, as it may be when an interrupted erasure goes on, keys of
    later days stay. Meanwhile another version serves already.
    """
    await asyncio.gather(asyncio.sleep(ERASURE_SETTLES_S), _go_back_early(place, of))
    stopped_ns = of.steps["stopped"].at_ns
    consents = await consents_of_topic(place.broker)
    if of.scope.place:
        return Done(clock.now_ns(), await _destroy_there(place, keys, of, consents))
    until_day = day_of(stopped_ns) if _given_since(consents, of) else DAYS_MAX
    count = await asyncio.to_thread(_destroyed, keys, of, until_day)
    return Done(clock.now_ns(), count)


def _destroyed(keys: KeyStore, of: Requested, until_day: int) -> int:
    """Destroy keys of a wearer, and what wrapped them; returns their number."""
    count = keys.erase(of.wearer, clock.now_ns(), from_day=day_of(of.scope.since_ns), until_day=until_day)
    keys.settle()
    return count


async def _destroy_there(place: Place, keys: KeyStore, of: Requested, consents: Consents) -> int:
    """Destroy the keys of what was made at a place, and what wrapped them; returns their number.

    What was on its way when the erasure was requested is among that.
    """
    side, _ = await known_models(place.broker)
    made = await made_of(place, side, consents, of.wearer, of.scope, labelled=True)

    def destroy() -> int:
        count = keys.erase_numbers(of.wearer, sorted(made.keys | {*of.scope.keys}), clock.now_ns())
        keys.settle()
        return count

    return await asyncio.to_thread(destroy)


def _check_stated(scope: Scope) -> None:
    """InputError if a scope has more keys than a statement can name."""
    if len(scope.keys) > ERASED_KEYS_MAX:
        raise InputError(
            f"place {scope.place}: found {len(scope.keys):,} keys of what was made there, expected at most "
            f"{ERASED_KEYS_MAX} in one erasure; nothing was changed. Erase it in parts: "
            f"place {scope.place} from TIME until TIME"
        )


def _given_since(consents: Consents, of: Requested) -> bool:
    """Whether the wearer has given consent since the erasure."""
    stopped_ns = of.steps["stopped"].at_ns
    return any(word.at_ns > stopped_ns and word.purposes for word in consents.words_of(of.wearer))


async def _go_back_early(place: Place, of: Requested) -> None:
    """Let another version serve if it is possible now; the step `models` sees to it that one does.

    What stands in the way of that must not keep keys from being destroyed.
    """
    try:
        consents = await consents_of_topic(place.broker)
        side, records = await known_models(place.broker)
        made = await made_of(place, side, consents, of.wearer, of.scope)
        knowing = knowing_of(side, of.wearer, of.scope, made, given_later(consents, of))
        if knowing & {side.models.serving, side.models.candidate}:
            await publish_now(place.broker, await pointer_of(place, of, side, records, knowing))
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
    withdrawn, later = set[int](), given_later(consents, of)
    for _ in range(ERASURE_TRIES):
        side, records = await known_models(place.broker)
        made = await made_of(place, side, consents, of.wearer, of.scope)
        knowing = knowing_of(side, of.wearer, of.scope, made, later)
        withdrawn |= knowing
        back = side.models.rollback
        told = back.withdrawn if back is not None else ()
        if not knowing & {side.models.serving, side.models.candidate} and all(
            holds(told, version) for version in knowing
        ):
            return side, withdrawn
        await publish_now(place.broker, await pointer_of(place, of, side, records, knowing))
        await asyncio.sleep(ERASURE_SETTLES_S)
    raise UnavailableError(
        f"erasure {of.number}: after {ERASURE_TRIES} attempts a model version still serves that learned from "
        "the wearer, expected training to have read the erasure; does its worker run? Erase again to go on"
    )


async def _count_second(place: Place, of: Requested) -> Done:
    """Count examples of others that were made with a version that was withdrawn."""
    consents = await consents_of_topic(place.broker)
    side, _ = await known_models(place.broker)
    policy = side.policies.version(side.policies.current)
    taught = await made_of(place, side, consents, of.wearer, of.scope)
    knowing = knowing_of(side, of.wearer, of.scope, taught, given_later(consents, of))
    made = set[str]()
    for record in await examples_of(place.broker, place.directory, policy, PRINCIPAL):
        with contextlib.suppress(MalformedError):
            batch, *_ = gate.read(record, place.codec)
            if batch.wearer_id != of.wearer and knowing & gate.versions_of(record, batch):
                made.add(batch.first_id)
    return Done(clock.now_ns(), len(made))


async def _wait(place: Place, of: Requested) -> Done:
    rows = NO_STORE if place.stores is None else await place.stores(of.number)
    return Done(clock.now_ns(), rows)


async def _finish(place: Place, keys: KeyStore, of: Requested, receipt: Path, salt: bytes) -> Done:
    """Destroy keys that were made while the erasure went on, take values of models off, write the receipt.

    The keys stay if the wearer has given consent again since. What is left of the models names the wearer no
    more, so whoever counts what they led to did it before.
    """
    consents = await consents_of_topic(place.broker)
    count = 0
    if of.scope.place:
        count = await _destroy_there(place, keys, of, consents)
    elif not _given_since(consents, of):
        count = await asyncio.to_thread(_destroyed, keys, of, DAYS_MAX)
    # A training run that was under way may have promoted a version since.
    side, withdrawn = await _served(place, of, consents)
    await take_off(place, keys, of, consents, withdrawn)
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
        sealed=await _sealed(place.broker, of.steps["stopped"].at_ns),
    )
    # Every text in it is one of ours, in which a wearer who is called `store` is not named.
    signed = ReceiptKey.made(place.directory).sign(made, ())
    with files.written(receipt) as file:
        file.write(signed)
    return done


async def _sealed(broker: Broker, stopped_ns: int) -> dict[str, Sealed]:
    """How much of the topics on which labels decide was sealed when an erasure stopped all use."""
    in_force = await put_in_force(broker)
    return {topic: sealed_since(topic, in_force, stopped_ns) for topic in SEALABLE if topic not in SEALED}
