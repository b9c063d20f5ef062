"""What topics still hold of a person: read, opened, decided record by record, and told as lines of JSON.

Whether a value may be handed to the person is decided like lineage: by its zone and label, under the policy
that tagged it (`streams.policy.audience`). Sealed values are opened for the purpose of the sink TO_WEARER.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from msgspec import structs

from streams import clock
from streams.consent.erased import NOTHING_ERASED, WORDS, ErasedParts
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.codec import Codec, encode
from streams.events.headers import LABEL, ZONE, content_type_of, rfc3339
from streams.events.record import Received, stamp_ns
from streams.kafka.reader import read_all, read_through
from streams.policy.audience import permits
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.role import Role
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.release import release
from streams.sealing.sealed import is_sealed, unopened
from streams.settings.kafka import Broker
from streams.topology import ANSWERS, DERIVED, EXAMPLES, TO_WEARER, ZONED
from streams.worker.bootstrap import consents_of_topic
from streams.worker.models import put_in_force
from streams.worker.sealing import recognise, refuse_other

#: Kinds with words: what was said, what was answered, and what was made of both.
TALK = frozenset(
    {"voice_query", "answer", "feedback", "review", "example", "consent_change", "erasure_request"}
)
#: Parts of a value that are about somebody else, whatever zone it is in: fields of the context, and columns.
OTHERS_CONTEXT = ("people_near", "minor_near")
OTHERS_COLUMNS: Mapping[str, tuple[str, ...]] = {"voice_segment": ("speaker",), "review": ("reviewer",)}
#: Kinds of devices that nobody provided who wears them.
_NOT_PROVIDED = frozenset({"review"})
#: The name under which what is on record of consents, and utterances of examples, are handed out.
CONSENTS_NAME, UTTERANCES = "consents", "utterances"
#: A line of JSON for the file of a kind.
Put = Callable[[str, bytes], None]


@dataclass
class OwnValues:
    """Chooses the values of a wearer and tells them.

    Parameters
    ----------
    provided
        Only what the wearer provided, without anybody else (Article 20); otherwise everything (Article 15).
    erased
        What of it was erased, by the time of capture or of append.

    Attributes
    ----------
    words
        Values of the kinds in TALK, in order of the topics; empty if only what was provided is told.
    events
        Events that were told, by kind.
    left_out
        Events that were not, by (kind, reason).
    """

    wearer: str
    role: Role
    codec: Codec
    policies: StoredPolicies
    provided: bool
    erased: ErasedParts = NOTHING_ERASED
    words: list[dict[str, Any]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, topic: str, put: Put, record: Received) -> None:
        """Tell a record if it is the wearer's and may be handed out; what is no batch is passed over."""
        if self.wearer.encode() not in (record.value or b""):
            return
        try:
            batch = self.codec.decode(
                record.value,
                record.offset,
                stamp_ns(record),
                content_type=content_type_of(record.headers),
                captured=topic == ZONED,
            )
        except MalformedError:
            return
        times_ns = batch.t_ns or (batch.t0_ns, batch.t0_ns + batch.dt_ns * (batch.run.count - 1))
        first_ns, last_ns = (min(t_ns, stamp_ns(record)) for t_ns in (min(times_ns), max(times_ns)))
        if batch.wearer_id != self.wearer or self.erased.has(first_ns, last_ns, word=batch.kind in WORDS):
            return
        headers = dict(record.headers)
        zone = (headers.get(ZONE) or b"").decode(errors="replace")
        reason = self._against(batch, zone, (headers.get(LABEL) or b"").decode(errors="replace"))
        if reason:
            self.left_out[batch.kind, reason] += batch.run.count
            return
        told = plain(batch, without_others=self.provided)
        name = batch.kind
        if self.provided and topic == EXAMPLES:
            # Who provided the words did not provide what was made of them.
            columns = told["columns"]
            words = {column: columns[column][0] for column in ("utterance", "language")}
            told, name = {"example": batch.first_id, "t": rfc3339(batch.t0_ns), **words}, UTTERANCES
        elif not self.provided and batch.kind in TALK:
            self.words.append(
                {
                    "id": batch.first_id,
                    "kind": batch.kind,
                    "t": rfc3339(batch.t0_ns),
                    "zone": zone,
                    "topic": topic,
                    "says": told["columns"],
                }
            )
        self.events[name] += batch.run.count
        put(name, orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))

    def _against(self, batch: Batch, zone: str, label: str) -> str:
        """Why a value is not handed out; empty if it is."""
        version, _, packed = label.partition(":")
        try:
            allowed = permits(
                self.policies, self.role.name, version, zone, packed, exporting=True, into=self.role.into
            )
            policy = self.policies.version(version)
            subjects = policy.vocabulary.says(bytes.fromhex(packed))["subjects"]
        except (InputError, ValueError):
            return "the policy that tagged it is not known"
        if not allowed:
            return f"the policy lets nobody hand it to its wearer (zone {zone})"
        if not self.provided:
            return ""
        if batch.kind in _NOT_PROVIDED:
            return "somebody else provided it"
        others = sorted(set(subjects) - {"wearer"})
        return f"it is about others too: {', '.join(others)} (zone {zone})" if others else ""

    def tell_consents(self, consents: Consents, put: Put) -> None:
        """Tell the words of the wearer that are on record."""
        for word in consents.words_of(self.wearer):
            if self.erased.has(word.at_ns, word.at_ns, word=True):
                continue
            plain_word = {
                name.removesuffix("_ns"): rfc3339(value) if name.endswith("_ns") and value else value or None
                for name, value in structs.asdict(word).items()
            }
            self.events[CONSENTS_NAME] += 1
            put(CONSENTS_NAME, orjson.dumps(plain_word, option=orjson.OPT_APPEND_NEWLINE))


def plain(batch: Batch, *, without_others: bool) -> dict[str, Any]:
    """A batch as its JSON value is on the wire; `without_others`: without the parts that are about others."""
    columns = {name: list(values) for name, values in batch.columns.items()}
    times = None if batch.t_ns is None else list(map(int, batch.t_ns))
    value: dict[str, Any] = orjson.loads(encode(structs.replace(batch, columns=columns, t_ns=times)))
    for name in OTHERS_COLUMNS.get(batch.kind, ()):
        # Who spoke or judged besides is masked for everybody, since it is a name of somebody else.
        value["columns"].pop(name, None)
    if without_others:
        for context in (value["context"], *value.get("context_changes", ())):
            for name in OTHERS_CONTEXT:
                context.pop(name, None)
    return value


@dataclass(frozen=True, slots=True)
class Topics:
    """Where the topics and their keys are; `consents` and `policies` (each with its time) were read."""

    broker: Broker
    keys: Path
    consents: Consents
    policies: list[tuple[int, Policy]]

    @classmethod
    async def read(cls, broker: Broker, keys: Path) -> Topics:
        """Read who said what, and which policies were in force.

        Raises
        ------
        InputError
            No policy was ever in force, or erasures were made with another key store.
        UnavailableError
            The broker or the topics are absent.
        """
        policies = await put_in_force(broker)
        return cls(broker, keys, await consents_of_topic(broker), policies)

    @property
    def stored(self) -> StoredPolicies:
        """The policies that were in force, by version."""
        return StoredPolicies({policy.version: policy.text for _, policy in self.policies})

    def devices(self, wearer: str) -> set[str]:
        """Devices that were ever bound to a wearer."""
        return {device for device, of in self.consents.pairings if of == wearer}

    def erased(self, wearer: str) -> ErasedParts:
        """What is erased of a wearer; errors as of `Consents.erased`."""
        recognise(self.consents, self.keys, wearer)
        return self.consents.erased(wearer, self.consents.offset)

    async def tell(self, own: OwnValues, devices: Collection[str], put: Put) -> None:
        """Tell all values of a wearer that the topics hold; `devices` are those that she ever wore.

        InputError, DamagedError or UnavailableError if sealed values cannot be opened with this key store.
        """
        for topic in (ZONED,) if own.provided else (ZONED, DERIVED, ANSWERS):
            await read_through(self.broker, topic, partial(own.take, topic, put))
        for record in await self.opened(own, await read_all(self.broker, EXAMPLES), devices):
            own.take(EXAMPLES, put, record)
        own.tell_consents(self.consents, put)

    async def opened(
        self, own: OwnValues, records: Sequence[Received], devices: Collection[str]
    ) -> Sequence[Received]:
        """Those of some records of `glasses.examples` that are of the devices, with sealed values opened.

        Others' are not opened, and that keys were asked for is recorded. Errors as of `tell`.
        """
        names = {device.encode() for device in devices}
        hers = [record for record in records if record.key in names]
        if not any(is_sealed(record.headers) for record in hers):
            return hers
        with contextlib.closing(KeyStore(self.keys)) as store:
            refuse_other(store, records)
            principal = f"sightline rights export ({own.role.name})"
            policy = self.policies[-1][1]
            await asyncio.to_thread(release, store, policy, TO_WEARER, principal, clock.now_ns())
            opened = await Keys(store).opened(EXAMPLES, hers)
        for record in opened:
            if state := unopened(record.headers):
                own.left_out["example", f"its key is {state}; whose it was is not known any more"] += 1
        return opened
