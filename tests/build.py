"""Builders for tests: all in one place, so that a test names only what matters to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson

from streams.consent.record import learn_consent
from streams.consent.view import Consents, PartitionConsents
from streams.consent.words import GIVEN
from streams.events.batch import Batch, Context
from streams.events.codec import codec_of, encode
from streams.events.headers import envelope
from streams.events.kinds import Kinds, text_form
from streams.events.record import Fetch, LiveCore, Outcome, Outgoing, StoredRecord
from streams.events.runs import Run
from streams.events.shipped import SHIPPED
from streams.kafka.compute import compute
from streams.kafka.publish import publish_now
from streams.kafka.topics import declare
from streams.models.registry import ModelTable
from streams.models.version import ModelVersion
from streams.pipeline.bootstrap import first_records
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.policy.crossing import Crossing
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import POLICIES
from streams.policy.step import Step
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.topology import CAPTURED, CONSENTS, LINEAGE, MODELS
from streams.training.check import can_serve

T = TypeVar("T")
State = TypeVar("State")
#: Reads the values of the shipped kinds.
CODEC = codec_of(SHIPPED)
#: The file from which a policy has the obligation to seal.
SEALED_WORDS = "vocabulary/sealed.toml"
T0_NS = 1_790_000_000_000_000_000
BOUND = [
    (device, f"w{wearer}")
    for device in ("g0", "g1", "g2", "g3", "g4", "g22", "h1")
    for wearer in (1, 2, 3, *range(90, 100))
]
CONTEXT: Mapping[str, Any] = {
    "place": "home",
    "people_near": "nobody",
    "minor_near": False,
    "capture_light": False,
    "worn": True,
    "consent": 1,
}
_BLANK = {"number": 0.0, "flag": False}


def context(**changes: Any) -> Context:
    """A quiet moment at home, with changes."""
    return Context(**{**CONTEXT, **changes})


def blank(wanted: str) -> Any:
    """A neutral value for a column of type `wanted`."""
    form = text_form(wanted)
    if wanted.endswith("?"):
        return None
    return _BLANK[wanted] if form is None else form.words[0] if form.words else "x"


def batch(
    kind: str = "imu",
    stream: str | None = None,
    first: int = 0,
    count: int = 20,
    *,
    source: str = "g1",
    session: str = "s1",
    t0_ns: int | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    changes: Sequence[tuple[int, Context]] = (),
    kinds: Kinds = SHIPPED,
    **around: Any,
) -> Batch:
    """A captured batch of one of `kinds`.

    Columns that are not given are blank, time follows the number at 100 Hz unless given.
    """
    names = {"imu": "imu-right"}
    filled = {name: [blank(wanted)] * count for name, wanted in kinds[kind].columns.items()}
    if kind == "gaze":  # looking straight ahead, no blink
        filled |= {"yaw_rad": [0.0] * count, "pitch_rad": [0.0] * count}
    return Batch(
        kind=kind,
        source=source,
        wearer_id="w1",
        session_id=session,
        stream=stream or names.get(kind, kind.replace("_", "-")),
        run=Run(first, 1, count),
        t0_ns=T0_NS + first * 10_000_000 if t0_ns is None else t0_ns,
        dt_ns=10_000_000,
        origin="synthetic:1",
        context=context(**around),
        columns={**filled, **(columns or {})},
        changes=tuple(changes),
    )


def imu(spread: float, first: int, count: int, **more: Any) -> Batch:
    """IMU samples whose acceleration norm swings by `spread` m/s² around gravity."""
    z = [9.80665 + (spread if i % 2 else -spread) for i in range(first, first + count)]
    return batch("imu", None, first, count, columns={"accel_z_mps2": z}, **more)


def query(number: int, text: str, t0_ns: int, **more: Any) -> Batch:
    """One voice query."""
    return batch(
        "voice_query",
        None,
        number,
        1,
        t0_ns=t0_ns,
        columns={"text": [text], "trigger": ["button"], "language": ["en"]},
        **more,
    )


def feedback(number: int, target: str, chosen: str, t0_ns: int, **more: Any) -> Batch:
    """One thumb up or down, with the intent that the wearer meant."""
    return batch(
        "feedback",
        None,
        number,
        1,
        t0_ns=t0_ns,
        columns={"target": [target], "form": ["thumb"], "thumb": [-1], "chosen_intent": [chosen]},
        **more,
    )


def gives(number: int, first: int, t0_ns: int, stream: str | None = None, **more: Any) -> Batch:
    """A consent to everything, as record `number`."""
    said: dict[str, list[Any]] = {
        "consent": [number],
        "status": ["dpv:ConsentGiven"],
        "purposes": [" ".join(policy().vocabulary.purposes)],
    }
    return batch("consent_change", stream, first, 1, t0_ns=t0_ns, columns=said, **more)


def ended(number: int, t0_ns: int, **more: Any) -> Batch:
    """The last event of a session."""
    said: dict[str, list[Any]] = {"session": ["ended"], "battery_percent": [50], "thermal": ["cool"]}
    return batch("device_state", None, number, 1, t0_ns=t0_ns, columns=said, **more)


def record(made: Batch, offset: int, **parts: Any) -> StoredRecord:
    """A captured record as a device sends it; the broker appended it at its capture time.

    `parts` replace some of its fields.
    """
    whole = StoredRecord(
        offset, made.t0_ns // 1_000_000, made.source.encode(), encode(made), tuple(envelope(made))
    )
    return replace(whole, **parts)


def fetch(batches: Sequence[Batch], offset: int = 0, partition: int = 0) -> Fetch:
    """A fetch of `glasses.captured`."""
    return Fetch(CAPTURED, partition, [record(made, offset + i) for i, made in enumerate(batches)])


def cut(batches: Sequence[Batch], sizes: Sequence[int]) -> list[Fetch]:
    """Fetches of the given sizes from the batches, in order."""
    fetches: list[Fetch] = []
    at = 0
    while at < len(batches):
        size = sizes[len(fetches) % len(sizes)]
        fetches.append(fetch(batches[at : at + size], at))
        at += size
    return fetches


@cache
def policy() -> Policy:
    """The policy of the demo."""
    return load("household")


@cache
def first_records_of(in_force: Policy) -> list[Outgoing]:
    """What a worker publishes first under a policy: the policy, and the seed model with its lineage."""
    return first_records(in_force, T0_NS)


def core(with_policy: Policy | None = None) -> LiveGlasses:
    """Stages 1-4 with the seed model."""
    return LiveGlasses(followed(with_policy))


def serving(version: ModelVersion) -> LiveGlasses:
    """The same, with this model version instead of the seed."""
    made = followed()
    made.models.now = replace(made.models.now, versions={version.version: version})
    return LiveGlasses(made)


def followed(with_policy: Policy | None = None) -> Followed:
    """The topics that every worker reads completely, at the beginning."""
    in_force = with_policy or policy()
    policies = PolicyTable(PolicyVersions.of(in_force))
    models = ModelTable(lambda version: can_serve(version, policies.now.versions))
    made = Followed(policies, models, consents())
    for one in first_records_of(in_force):
        if one.topic == MODELS:
            made.models.learn(one.key, one.value)
    return made


def consents() -> Consents:
    """All pairings of BOUND, and a consent to everything, number 1, of each wearer on each device."""
    made = Consents()
    for one in consent_records():
        learn_consent(made, one)
    return made


def consent_records() -> list[StoredRecord]:
    """The same as records of `glasses.consents`."""
    purposes, said = sorted(policy().vocabulary.purposes), list[tuple[str, dict[str, Any]]]()
    for device, wearer in BOUND:
        bound = {"device": device, "wearer": wearer, "bound": True, "at_ns": 0}
        said.append((f"pairing/{device}/{'0' * 32}", {"v": 2, "pairing": bound}))
        event = f"{device}/consent-before/0"
        word = {"device": device, "incarnation": 1, "number": 1, "status": GIVEN, "purposes": purposes}
        value = {"v": 2, "wearer": wearer, "event": event, **word, "expires_ns": 0, "at_ns": 0}
        said.append((f"word/{event}", value))
    return [
        StoredRecord(offset, 0, key.encode(), orjson.dumps(value)) for offset, (key, value) in enumerate(said)
    ]


async def say_on(broker: str) -> None:
    """Publish the same on a broker, before a worker starts there."""
    await declare(broker)
    said = [Outgoing(CONSENTS, 0, one.key or b"", one.value, (), 0) for one in consent_records()]
    await publish_now(broker, said)


@cache
def sealing(*zones: str) -> Policy:
    """The policy of the demo where values of these zones are sealed."""
    shared, mark, own = policy().text.partition("#=== file household.toml\n")
    part = f"#=== file {SEALED_WORDS}\n{(POLICIES / SEALED_WORDS).read_text(encoding='utf-8')}"
    own = own.replace('["vocabulary/glasses.toml"]', f'["vocabulary/glasses.toml", "{SEALED_WORDS}"]')
    own = own.replace("honours = [", 'honours = ["local:Sealed", ')
    for zone in zones:
        before, name, rest = own.partition(f'[[zones]]\nname = "{zone}"\n')
        table, end, after = rest.partition("\n\n")
        owed = re.search(r"^obligations = \[(.*)\]\n", table, re.MULTILINE)
        table = table.replace(owed[0], "") if owed else table
        words = '"local:Sealed"' + (f", {owed[1]}" if owed else "")
        own = f"{before}{name}obligations = [{words}]\n{table}{end}{after}"
    return parse(f"{shared}{part}{mark}{own}", "a policy that seals", kinds=SHIPPED)


def patient(directory: Path) -> str:
    """A policy like that of the demo that also accepts data captured years before it arrived."""
    path = directory / "patient.toml"
    path.write_text(policy().text.replace("old_days = 30", "old_days = 3650"), encoding="utf-8")
    return str(path)


def known() -> PartitionConsents:
    """Consents that exist before any batch of a test."""
    made = consents()
    return PartitionConsents(made, made.offset, {})


def crossing() -> Crossing:
    """A crossing under the policy of the demo, with nothing recorded yet."""
    return Crossing(policy(), known(), Step())


def begun() -> PartitionState:
    """The state of a partition that has taken up the consents from before a test."""
    return PartitionState(consents_taken=consents().offset)


def lineage(records: Sequence[Outgoing]) -> dict[str, list[dict[str, Any]]]:
    """Lineage rows by table among the records that a core wrote."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        if one.topic == LINEAGE:
            for table, blocks in orjson.loads(one.value or b"")["tables"].items():
                for block in blocks:
                    rows = zip(*block["each"].values(), strict=True)
                    tables.setdefault(table, []).extend(
                        {**block["all"], **dict(zip(block["each"], row, strict=True))} for row in rows
                    )
    return tables


def learn_models(followed: Followed, written: Sequence[Outgoing]) -> None:
    """Let a worker read the model versions that a core wrote."""
    for one in written:
        if one.topic == MODELS:
            followed.models.learn(one.key, one.value)


def version(of: LiveGlasses) -> ModelVersion:
    """The model version that a core uses."""
    models = of.followed.models.now
    return models.versions[models.current]


def run(awaitable: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end.

    `asyncio.run` would also install a signal handler, and for that format the result as text.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(awaitable)
    finally:
        loop.close()


def step(
    of: LiveCore[State],
    state: State,
    one: Fetch,
    *,
    silent: bool = False,
    poisoned: Mapping[int, str] | None = None,
) -> Outcome[State]:
    """Outcome of one fetch with the core's current side inputs, called as by the transport."""
    return run(stepped(of, state, one, silent=silent, poisoned=poisoned))


async def stepped(
    of: LiveCore[State],
    state: State,
    one: Fetch,
    *,
    silent: bool = False,
    poisoned: Mapping[int, str] | None = None,
) -> Outcome[State]:
    """The same inside a running event loop."""
    inputs = await of.inputs(state, one, silent=silent)
    return await of.process(state, one, inputs, silent=silent, poisoned=poisoned or {})


async def computed(of: LiveCore[State], state: State, one: Fetch, *, silent: bool = False) -> Outcome[State]:
    """Outcome of a fetch in which bad records are found and rejected, as the transport does it."""
    return await compute(of, state, one, await of.inputs(state, one, silent=silent), silent=silent)


def process(
    of: LiveGlasses, cuts: Sequence[Fetch], state: PartitionState | None = None
) -> tuple[list[Outgoing], PartitionState]:
    """Process fetches one after another; returns all records and the last state."""
    records: list[Outgoing] = []
    state = state or begun()
    for one in cuts:
        outcome = step(of, state, one)
        state = outcome.state
        records += outcome.outputs
    return records, state
