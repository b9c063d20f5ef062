"""Sealed values for other programs: opened for the purpose of a sink, one by one as the policy permits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from streams import clock
from streams.errors import InputError, MalformedError
from streams.events.codec import Codec, codec_of
from streams.events.kinds import Kinds
from streams.events.record import Received
from streams.events.shipped import SHIPPED
from streams.pipeline.judging import adopting, crossing_now, judged_by_tag
from streams.policy.policy import Flow
from streams.policy.step import Decision
from streams.sealing.asked import check_principal
from streams.sealing.asking import KeyService
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Opening
from streams.sealing.release import Releases
from streams.sealing.sealed import unopened
from streams.settings.kafka import Broker
from streams.topology import CONSENTS, EXAMPLES, POLICIES, SEALABLE
from streams.training import gate
from streams.worker.in_force import InForce


class Opened(NamedTuple):
    """The open value of a record, or None and the rule that kept it closed, which quotes nothing of it."""

    value: bytes | None
    rule: str


class SealedReader:
    """Opens records for a principal and the purpose of a sink; see `open_sealed`."""

    def __init__(
        self,
        in_force: InForce,
        opening: Opening,
        releases: Releases | None,
        codec: Codec,
        asked: tuple[str, str],
    ) -> None:
        self._in_force, self._opening, self._releases, self._codec = in_force, opening, releases, codec
        self._sink, self._principal = asked

    async def opened(self, record: Received, topic: str = EXAMPLES) -> Opened:
        """The value of a record as it was before it was sealed, if the policy permits it now.

        Judged are the label and the wearer's consent as of now, and the retention. A record whose value is
        not sealed is judged alike. On `glasses.derived` it does not say under which consent it was made, and
        what is sealed of a wearer without one says that: no zone that needs one permits either, and the rule
        tells them apart. `topic` is where it lies, by its plain name, since a
        value opens nowhere else. A key that was destroyed less than 2 s ago may still open it.

        Raises
        ------
        InputError
            Nothing is sealed on that topic.
        NotReleasedError
            The policy in force has no such sink, or its `keys_for` does not name the principal.
        UnavailableError
            Broker, key store or key service are away, or a key is unknown: nothing is taken for erased.
        """
        if topic not in SEALABLE:
            raise InputError(
                f"{topic}: found a topic on which nothing is sealed, expected one of {', '.join(SEALABLE)}"
            )
        side = await self._in_force.side()
        policy, now_ns = side.policies.version(side.policies.current), clock.now_ns()
        if self._releases is not None:
            await asyncio.to_thread(self._releases.ask, policy, self._sink, self._principal, now_ns)
        [opened] = await self._opening.opened(topic, [record])
        if state := unopened(opened.headers):
            return Opened(None, f"key: it is {state}")
        verdict: Decision | Flow
        try:
            if topic == EXAMPLES:
                crossing, adopt = crossing_now(side), adopting(side)
                verdict = gate.judge(opened, self._codec, crossing, adopt, now_ns, self._sink).decision
            else:
                verdict = judged_by_tag(opened, topic, self._codec, side, now_ns, self._sink)
        except MalformedError as error:
            return Opened(None, str(error))
        return Opened(opened.value if verdict.passed else None, "" if verdict.passed else verdict.rule)


@contextlib.asynccontextmanager
async def open_sealed(
    broker: Broker,
    sink: str,
    principal: str,
    *,
    keys: Path | str | None = None,
    service: str = "",
    token: Path | str | None = None,
    kinds: Kinds = SHIPPED,
) -> AsyncIterator[SealedReader]:
    """Open what is sealed on `glasses.examples`, `.zoned` and `.derived`, for as long as the block runs.

    Keys come from the key store itself (`keys`, its directory) or from a key service (`service`, its address,
    with a `token` file). Either way the policy in force on the broker decides, and the release is written
    down in the key store before anything is opened.

    Parameters
    ----------
    broker
        `HOST:PORT`, or a `KafkaSettings` for a Kafka with TLS and credentials.
    sink
        Sink of the policy whose purpose it is for, such as `training-run`.
    principal
        Who asks, as `keys_for` of that sink has it.
    kinds
        The kinds of events that are known.

    Raises
    ------
    InputError
        Neither or both of `keys` and `service` are given, or there is no key store.
    UnavailableError
        The broker is absent.
    """
    check_principal(principal)
    if (keys is None) is not bool(service) or bool(service) is not (token is not None):
        raise InputError(
            "open_sealed: expected either keys=, the directory of the key store, or service= and token=, the "
            "address of a key service and the file of its token"
        )
    async with contextlib.AsyncExitStack() as stack:
        in_force = InForce(broker, POLICIES, CONSENTS)
        await in_force.side()
        releases = None
        if keys is not None:
            store = stack.enter_context(contextlib.closing(KeyStore(Path(keys))))
            opening, releases = Opening(store.find), Releases(store)
        else:
            opening = Opening(KeyService(service, principal, sink, Path(token or "")).find)
        yield SealedReader(in_force, opening, releases, codec_of(kinds), (sink, principal))
