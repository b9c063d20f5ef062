"""Traffic of devices in a race: batches of motion only, or everything that glasses sample at real rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Any, Protocol

from msgspec.structs import replace

from device_sim import scenarios
from device_sim.device import FEEDBACK_STREAM, QUERY_STREAM, Clock, Device, Past
from device_sim.kafka import partition_of
from device_sim.own_consent import OwnConsent
from device_sim.playback import timeline
from device_sim.recordings import samples
from device_sim.scenarios import PERIOD_NS
from device_sim.wearer import Queries, Wearer
from streams.events.batch import Batch, Context
from streams.events.codec import codec_of
from streams.events.identity import format_id
from streams.events.runs import Run
from streams.events.shipped import SHIPPED
from streams.topology import PARTITIONS_DEFAULT

JSON, BINARY = "json", "binary"
RECORDING, SCENARIO = "classyglass-user17", "glasses"
_CONTEXT = Context(
    place="home", people_near="nobody", minor_near=False, capture_light=False, worn=True, consent=1
)
#: This many devices of the scenario have different recordings and questions; further devices repeat them.
_LIVES = 6
_SEED = 1
#: Kinds that can be sent in either encoding; actions of people are always JSON.
_SAMPLED = frozenset({"imu", "gaze"})
_NS_PER_S = 1_000_000_000


def devices(number: int) -> list[str]:
    """Names of `number` devices, spread over the partitions as evenly as possible."""
    names: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS_DEFAULT)}
    for name in (f"bench{i}" for i in count()):
        names[partition_of(name, PARTITIONS_DEFAULT)].append(name)
        if all(len(some) > number // PARTITIONS_DEFAULT for some in names.values()):
            break
    return [names[turn % PARTITIONS_DEFAULT][turn // PARTITIONS_DEFAULT] for turn in range(number)]


class Traffic(Protocol):
    """Endless batches of any number of devices, which take turns."""

    @property
    def name(self) -> str:
        """Name of a race over this traffic."""

    @property
    def about(self) -> str:
        """Description of the traffic."""

    @property
    def encoding(self) -> str:
        """Encoding of sampled data: `json` or `binary`."""

    @property
    def batches_per_s(self) -> float:
        """Batches of one device per second of its time."""

    @property
    def events_per_batch(self) -> float:
        """Mean number of events per batch."""

    def batches(self, first: int, number: int, start_ns: int, device_count: int) -> Iterator[Batch]:
        """Batches from number `first` on; each device has consecutive numbers, times from `start_ns` on."""


def span_ns(traffic: Traffic, batch_count: int, device_count: int) -> int:
    """Time from the first to the last capture of `batch_count` batches, or a little more."""
    return round((batch_count / device_count / traffic.batches_per_s + 1) * _NS_PER_S)


@dataclass(frozen=True, slots=True)
class Motion:
    """One IMU per device: consecutive rows of a recording, as if sampled at `rate_hz`."""

    events_per_batch: int
    rate_hz: int
    encoding: str = JSON

    @property
    def name(self) -> str:
        """Contains samples per batch and encoding."""
        return f"imu-{self.events_per_batch}-{self.encoding}"

    @property
    def about(self) -> str:
        """Samples per batch and rate."""
        return f"batches of {self.events_per_batch} samples of motion at {self.rate_hz} Hz"

    @property
    def batches_per_s(self) -> float:
        """Rate divided by samples per batch."""
        return self.rate_hz / self.events_per_batch

    def batches(self, first: int, number: int, start_ns: int, device_count: int) -> Iterator[Batch]:
        """Each batch has the next rows; all devices move alike."""
        names, cut = devices(device_count), _cut(self.events_per_batch, self.encoding)
        dt_ns = _NS_PER_S // self.rate_hz
        for at in range(first, first + number):
            turn = at // device_count
            run = Run(turn * self.events_per_batch, 1, self.events_per_batch)
            yield replace(
                cut[turn % len(cut)],
                source=names[at % device_count],
                wearer_id=f"w{at % device_count}",
                run=run,
                t0_ns=start_ns + run.first * dt_ns,
                dt_ns=dt_ns,
            )


@cache
def _cut(events_per_batch: int, encoding: str) -> Sequence[Batch]:
    """The recording's batches, as from a device without a name."""
    played = samples(RECORDING)
    cut = [
        Batch(
            kind="imu",
            source="",
            wearer_id="",
            session_id="s1",
            stream="imu-right",
            run=Run(at, 1, events_per_batch),
            t0_ns=0,
            dt_ns=0,
            origin=played.about.origin,
            context=_CONTEXT,
            columns={
                name: values[at : at + events_per_batch].tolist() for name, values in played.columns.items()
            },
        )
        for at in range(0, played.about.rows - events_per_batch + 1, events_per_batch)
    ]
    return [_encoded(batch, encoding) for batch in cut]


def _encoded(batch: Batch, encoding: str) -> Batch:
    """Packed if requested and sampled by a sensor; packing costs a sender more than sending does."""
    sampled = encoding == BINARY and batch.kind in _SAMPLED
    return codec_of(SHIPPED).packed(batch) if sampled else batch


@dataclass(frozen=True, slots=True)
class Glasses:
    """The scenario `glasses`, repeated: motion at 800 Hz, gaze at 200 Hz, questions, feedback, states."""

    encoding: str = JSON
    about: str = (
        "motion at 800 Hz, gaze at 200 Hz, questions, feedback and states of the device, 0.2 s a batch"
    )

    @property
    def name(self) -> str:
        """Contains the encoding."""
        return f"{SCENARIO}-{self.encoding}"

    @property
    def batches_per_s(self) -> float:
        """As in the first session, since the others are like it."""
        return len(_life(0)) / scenarios.load(SCENARIO).duration_ns * _NS_PER_S

    @property
    def events_per_batch(self) -> float:
        """As in the first session."""
        return sum(batch.run.count for batch in _life(0)) / len(_life(0))

    def batches(self, first: int, number: int, start_ns: int, device_count: int) -> Iterator[Batch]:
        """Each device's next batch of its session; sessions repeat."""
        lives = [_sent(turn % _LIVES, self.encoding) for turn in range(device_count)]
        return _repeated(lives, first, number, start_ns)


def _repeated(lives: Sequence[Sequence[Batch]], first: int, number: int, start_ns: int) -> Iterator[Batch]:
    """Batches of a device for each life, in turn; each life is repeated, from time 0 on."""
    names, session_ns = devices(len(lives)), scenarios.load(SCENARIO).duration_ns
    lengths = [_lengths(turn % _LIVES) for turn in range(len(lives))]
    for at in range(first, first + number):
        turn = at % len(lives)
        session, place = divmod(at // len(lives), len(lives[turn]))
        begins_ns = start_ns + session * session_ns
        yield _again(lives[turn][place], names[turn], f"w{turn}", session, lengths[turn], begins_ns)


@dataclass(frozen=True, slots=True)
class Talk:
    """What wearers do in the scenario `glasses`, without what sensors sample: the loop at little cost."""

    name: str = "talk"
    about: str = "questions, feedback and states of the device, without sensors"
    encoding: str = JSON

    @property
    def batches_per_s(self) -> float:
        """As in the first session, since the others are like it."""
        return len(_talk(0)) / scenarios.load(SCENARIO).duration_ns * _NS_PER_S

    @property
    def events_per_batch(self) -> float:
        """People do one thing at a time."""
        return 1.0

    def batches(self, first: int, number: int, start_ns: int, device_count: int) -> Iterator[Batch]:
        """Each device's next batch of its session; sessions repeat."""
        return _repeated([_talk(turn % _LIVES) for turn in range(device_count)], first, number, start_ns)


@cache
def _talk(turn: int) -> Sequence[Batch]:
    return [batch for batch in _life(turn) if batch.kind not in _SAMPLED]


@cache
def _life(turn: int) -> Sequence[Batch]:
    """All that one device of the scenario captures in a session, from time 0 on."""
    scenario = scenarios.load(SCENARIO)
    wearer = Wearer(
        "bench",
        scenario.talk,
        Queries(scenario.talk.query_recording, _SEED, turn, _LIVES),
        _SEED,
        hears_answers=False,
    )
    device = Device(
        "bench",
        "wearer",
        scenario,
        partial(timeline, scenario, turn, _SEED),
        wearer,
        # The wearer consented before, because otherwise the first session would begin with a consent.
        past=Past(sessions=1, consents={"wearer": OwnConsent(1, ("dpv:RequestedServiceProvision",))}),
        clock=Clock(0),
        seed=_SEED,
    )
    periods = range(scenario.duration_ns // PERIOD_NS)
    # Sessions follow one another without a pause, so the event at the end of a session is left out.
    return [captured.batch for _ in periods for captured in device.period()]


@cache
def _sent(turn: int, encoding: str) -> Sequence[Batch]:
    """The same batch in the encoding of this traffic."""
    return [_encoded(batch, encoding) for batch in _life(turn)]


@cache
def _lengths(turn: int) -> Mapping[str, int]:
    """Number of events of a session by stream."""
    lengths: dict[str, int] = {}
    for batch in _life(turn):
        lengths[batch.stream] = lengths.get(batch.stream, 0) + batch.run.count
    return lengths


def _again(
    batch: Batch, name: str, wearer: str, session: int, lengths: Mapping[str, int], start_ns: int
) -> Batch:
    """A batch of the first session, as the device sends it in a later one."""
    run = Run(batch.run.first + session * lengths[batch.stream], 1, batch.run.count)
    columns: Mapping[str, Sequence[Any]] = batch.columns
    if batch.stream == FEEDBACK_STREAM:
        asked = [int(target.rpartition("/")[2]) for target in columns["target"]]
        before = session * lengths[QUERY_STREAM]
        columns = {**columns, "target": [format_id(name, "answer", before + number) for number in asked]}
    return replace(
        batch,
        source=name,
        wearer_id=wearer,
        session_id=f"s{session + 1}",
        run=run,
        t0_ns=batch.t0_ns + start_ns,
        t_ns=None if batch.t_ns is None else [t_ns + start_ns for t_ns in batch.t_ns],
        columns=columns,
    )


IMU_20, IMU_160, GLASSES, TALK = Motion(20, 100), Motion(160, 800), Glasses(), Talk()
IMU_20_BINARY, IMU_160_BINARY = Motion(20, 100, BINARY), Motion(160, 800, BINARY)
GLASSES_BINARY = Glasses(BINARY)
