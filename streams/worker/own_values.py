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
from pathlib import Path
from typing import Any

import orjson
from msgspec import structs

from streams import clock
from streams.consent.erased import NOTHING_ERASED, WORDS, ErasedParts
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.claims import claimed
from streams.events.codec import Codec, encode
from streams.events.headers import LABEL, ZONE, content_type_of, rfc3339
from streams.events.record import Received, stamp_ns
from streams.kafka.reader import Follower
from streams.limits import FETCH_RECORDS_MAX
from streams.policy.audience import permits
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.role import Role
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.release import release
from streams.sealing.sealed import KeyName, is_sealed, unopened
from streams.settings.kafka import Broker
from streams.topology import ANSWERS, DERIVED, EXAMPLES, TO_WEARER, ZONED
from streams.worker.models import put_in_force
from streams.worker.on_topics import consents_of_topic
from streams.worker.sealing import names_in, recognise, refuse_other

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
_POLL_MS = 500
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
    now_ns
        Time (ns) up to which retention must not have ended.

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
    now_ns: int = field(default_factory=clock.now_ns)
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
        label = (headers.get(LABEL) or b"").decode(errors="replace")
        reason = self._against(batch, zone, label, stamp_ns(record))
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

    def _against(self, batch: Batch, zone: str, label: str, appended_ns: int) -> str:
        """Why a value is not handed out; empty if it is."""
        version, _, packed = label.partition(":")
        try:
            allowed = permits(
                self.policies, self.role.name, version, zone, packed, exporting=True, into=self.role.into
            )
            policy = self.policies.version(version)
            subjects = policy.vocabulary.says(bytes.fromhex(packed))["subjects"]
            over = self.now_ns >= policy.expires_ns(bytes.fromhex(packed), appended_ns)
        except (InputError, ValueError):
            return "the policy that tagged it is not known"
        if over:
            return "its retention is over"
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
        with contextlib.closing(Opener(self, own, devices)) as opener:
            for topic in (ZONED, EXAMPLES) if own.provided else (ZONED, DERIVED, ANSWERS, EXAMPLES):
                async with Follower(self.broker, topic) as follower:
                    ends = await follower.end_offsets()
                    while any(at < ends[of] for of, at in (await follower.positions()).items()):
                        for records in (await follower.poll(_POLL_MS, FETCH_RECORDS_MAX)).values():
                            for record in await opener.opened(topic, records):
                                own.take(topic, put, record)
            opener.refuse_other()
        own.tell_consents(self.consents, put)


class Opener:
    """Opens what is sealed of the devices that a wearer ever wore; close it afterwards.

    Others' values are not opened. Keys are asked for with the first value, which is recorded.
    """

    def __init__(self, topics: Topics, own: OwnValues, devices: Collection[str]) -> None:
        self._topics, self._own = topics, own
        self._devices = {device.encode() for device in devices}
        self._store: KeyStore | None = None
        self._keys: Keys | None = None
        self._names = dict[KeyName, None]()

    async def opened(self, topic: str, records: Sequence[Received]) -> list[Received]:
        """Some records of a topic, without those whose values cannot be told; these are counted.

        InputError, DamagedError or UnavailableError without the key store or its key-encryption key.
        """
        self._names.update(dict.fromkeys(names_in(records)))
        sealed = [record for record in records if is_sealed(record.headers)]
        hers = [record for record in sealed if record.key in self._devices]
        told = [record for record in records if not is_sealed(record.headers)]
        if not hers:
            return told
        for record in await (await self._asked()).opened(topic, hers):
            if state := unopened(record.headers):
                reason = f"its key is {state}; whose it was is not known any more"
                run = claimed(record).run
                self._own.left_out[_kind_of(record), reason] += 1 if run is None else run.count
            else:
                told.append(record)
        return sorted(told, key=lambda record: record.offset)

    async def _asked(self) -> Keys:
        if self._store is None or self._keys is None:
            self._store = KeyStore(self._topics.keys)
            self._keys = Keys(self._store)
            principal = f"sightline rights export ({self._own.role.name})"
            policy = self._topics.policies[-1][1]
            await asyncio.to_thread(release, self._store, policy, TO_WEARER, principal, clock.now_ns())
        return self._keys

    def refuse_other(self) -> None:
        """InputError if all that was opened is sealed under keys of other key stores."""
        if self._store is not None:
            refuse_other(self._store, [*self._names])

    def close(self) -> None:
        """Close the key store."""
        if self._store is not None:
            self._store.close()


def _kind_of(record: Received) -> str:
    """Kind of a record by its header, as `event_type` writes it."""
    written = (dict(record.headers).get("ce_type") or b"").decode(errors="replace")
    return written.partition(".")[2].rpartition(".")[0]
