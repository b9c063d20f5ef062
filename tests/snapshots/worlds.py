"""Random worlds of lineage, each drawn twice: with a wearer, and as it were if she had never been there.

What is drawn knows nothing of how the store selects rows: each row is put down for both worlds as it is made.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import orjson

from streams.consent.erased import Erasure
from streams.events.record import StoredRecord
from streams.lineage.tables import NO_EXAMPLE
from streams.policy.attributes import Attributes
from streams.snapshots.writer import Writer
from tests.snapshots.build import (
    HOUSEHOLD,
    POLICY,
    T0_NS,
    Row,
    batch,
    derived,
    edge,
    record,
    row,
    stream,
    stretches,
    tagged,
)

SECOND_NS = 1_000_000_000
#: Names that occur nowhere but in rows of hers. She also wears a device of others.
HER, HERS, SHARED = "canarywearer", "canarydevice", "shared"
WEARERS = {HERS: (HER,), SHARED: (HER, "w1"), "g1": ("w1",), "g2": ("w2", "w3")}


def mark(text: str) -> str:
    """Stands for `KeyStore.mark_of`."""
    return hashlib.blake2b(text.encode(), key=b"of a test", digest_size=16).hexdigest()


def erasure(at_ns: int, number: int = 1, wearer: str = HER, since_ns: int = 0) -> Erasure:
    return Erasure(mark(wearer), number, at_ns, since_ns)


def _attributes(place: str) -> str:
    return Attributes("imu", "imu-right", place, "nobody", False, False, True, True).text()


class World:
    """Records by partition with her and without; `at_ns` lies after `until` of `fetches` fetches.

    What she captured before the fetch `since` is in both. With `home`, what she captured elsewhere than in
    these fetches is in both, and what she said of her data is everywhere.
    """

    def __init__(
        self, seed: int, fetches: int = 18, until: int = 18, since: int = 0, home: Collection[int] = ()
    ) -> None:
        self._home = home
        self._draw, self.at_ns = random.Random(seed), T0_NS + until * SECOND_NS - 1
        self.since_ns = T0_NS + since * SECOND_NS if since else 0
        self._number: dict[tuple[str, str], int] = defaultdict(int)
        self._told: tuple[set[tuple[str, str]], set[tuple[str, str]]] = (set(), set())
        self._examples: list[tuple[str, int, bool]] = []
        self._last: dict[str, tuple[int, bool]] = {}
        self._read = 0
        #: (partition, key, rows with her, rows without) of each record, in order.
        self.records: list[tuple[int, bytes, dict[str, list[Row]], dict[str, list[Row]]]] = []
        for nth in range(fetches):
            self._rows: tuple[dict[str, list[Row]], dict[str, list[Row]]] = (
                defaultdict(list),
                defaultdict(list),
            )
            if not nth:
                self._both("policies", POLICY)
            if nth % 6 == 5:
                self._train(nth // 6 + 1, T0_NS + nth * SECOND_NS)
                self.records.append((0, b"training/0", *self._rows))
                continue
            device = self._draw.choice(sorted(WEARERS))
            self._partition = 0 if device in (HERS, "g1") else 1
            self._fetch(device, self._draw.choice(WEARERS[device]), T0_NS + nth * SECOND_NS)
            self._consents(nth)
            self.records.append((self._partition, b"glasses/%d" % self._partition, *self._rows))

    def lineage(self, *, with_her: bool) -> list[tuple[int, StoredRecord]]:
        """(partition, record) in order; a record that would have no row is of an offset all the same."""
        offsets, made = Counter[int](), list[tuple[int, StoredRecord]]()
        for partition, key, rows, without in self.records:
            some = rows if with_her else without
            if any(some.values()):
                made.append((partition, record(offsets[partition], some, key)))
            offsets[partition] += 1
        return made

    def _both(self, table: str, *rows: Row) -> None:
        for row_with, row_without in [(rows[0], rows[-1])]:
            self._rows[0][table].append(row_with)
            self._rows[1][table].append(row_without)

    def _put(self, table: str, made: Row, *, hers: bool) -> None:
        self._rows[0][table].append(made)
        if not hers:
            self._rows[1][table].append(made)

    def _begin(self, device: str, name: str, kind: str, *, hers: bool) -> None:
        for world, told in enumerate(self._told):
            if (device, name) not in told and not (world and hers):
                told.add((device, name))
                captured = kind == "imu"
                self._rows[world]["streams"].append(stream(device, name, kind, captured=captured))

    @property
    def stays(self) -> list[tuple[int, int]]:
        """The times of the fetches at home, each a stay of its own."""
        return [(T0_NS + nth * SECOND_NS,) * 2 for nth in sorted(self._home)]

    def _at_home(self, t_ns: int) -> bool:
        return (t_ns - T0_NS) // SECOND_NS in self._home

    def _goes(self, t_ns: int) -> bool:
        return self.since_ns <= t_ns <= self.at_ns and (not self._home or self._at_home(t_ns))

    def _fetch(self, device: str, wearer: str, t_ns: int) -> None:
        draw, hers = self._draw, wearer == HER and self._goes(t_ns)
        around: Row = {
            "wearer": wearer,
            "partition": self._partition,
            "appended_ns": t_ns,
            "t_first_ns": t_ns,
            "t_last_ns": t_ns,
        }
        self._begin(device, "imu-right", "imu", hers=hers)
        self._begin(device, "activity", "activity", hers=hers)
        before = self._last.get(device)
        for _ in range(draw.randint(1, 3)):
            first = self._number[device, "imu-right"]
            if not draw.randint(0, 3):
                self._refused(device, wearer, first, t_ns, hers=hers)
                first += 3
            step, count = draw.randint(1, 3), draw.randint(1, 4)
            zone = draw.choice(("public", "home-private"))
            self._number[device, "imu-right"] = first + step * count
            self._put(
                "events",
                batch(device, "imu-right", first, step * count, **{**tagged(zone=zone), **around}),
                hers=hers,
            )
            self._judged(device, "imu-right", first, step * count, wearer, t_ns, hers=hers)
            for nth in range(count):
                made = derived(
                    device,
                    "activity",
                    first + nth * step,
                    **{**tagged(zone=zone), **around, "kind": "activity", "topic": "glasses.derived"},
                )
                self._put("events", made, hers=hers)
            parent = (device, "imu-right", first)
            self._put(
                "edges",
                edge(
                    (device, "activity", first),
                    parent,
                    child_step=step,
                    child_count=count,
                    parent_step=step,
                    parent_width=step,
                    operator="activity",
                ),
                hers=hers,
            )
            if before is not None and before[1] and wearer == HER and not hers:
                # Made of samples from before the time and after: it is derived from what is erased.
                number = first + step * count - 1
                if number not in range(first, first + step * count, step):
                    for each in (
                        derived(
                            device,
                            "activity",
                            number,
                            **{**tagged(zone=zone), **around, "kind": "activity", "topic": "glasses.derived"},
                        ),
                        edge(
                            (device, "activity", number),
                            (device, "imu-right", before[0]),
                            operator="activity",
                        ),
                        edge((device, "activity", number), (device, "imu-right", first), operator="activity"),
                    ):
                        self._put("edges" if "operator" in each else "events", each, hers=True)
            before = self._last[device] = first, hers
            self._example(device, wearer, first, t_ns, around, hers=hers)

    def _refused(self, device: str, wearer: str, first: int, t_ns: int, *, hers: bool) -> None:
        """Numbers that no event has: of a refused batch, which may name nobody."""
        named = self._draw.choice((wearer, ""))
        alone = device == HERS and named == ""
        made = row(
            "rejected",
            source=device,
            stream="imu-right",
            first=first,
            count=3,
            stage="zones",
            reason="x",
            zone="malformed",
            policy_version=HOUSEHOLD.version,
            topic="glasses.captured",
            partition=self._partition,
            t_ns=t_ns,
            appended_ns=t_ns,
            wearer=named,
        )
        if named or alone:
            self._put("rejected", made, hers=hers)

    def _judged(
        self, device: str, name: str, first: int, count: int, wearer: str, t_ns: int, *, hers: bool
    ) -> None:
        run: Row = {
            "source": device,
            "stream": name,
            "first": first,
            "count": count,
            "t_ns": t_ns,
            "sink": "store",
        }
        said = {"verdict": "allow", "policy_version": HOUSEHOLD.version, "zone": "public"}
        self._put(
            "decisions",
            row(
                "decisions",
                **run,
                **said,
                mode="enforcing",
                appended_ns=t_ns,
                at_ns=0,
                label=tagged()["label"],
                wearer=wearer,
            ),
            hers=hers,
        )
        if self._home:
            # Others are at home all the time, and she on any of her devices.
            place = "home" if wearer != HER or self._at_home(t_ns) else "street"
            around: Row = {"wearer": wearer, "appended_ns": t_ns, "attributes": _attributes(place)}
            of = {**run, **said, **around, "sink": "glasses.zoned", "label": tagged()["label"]}
            self._put("decisions", row("decisions", **of, mode="enforcing", at_ns=0), hers=hers)
        if not self._draw.randint(0, 2):
            following = {"next_version": HOUSEHOLD.version, "next_zone": "public", "next_verdict": "deny"}
            self._put("shadow", row("shadow", **run, **said, **following), hers=hers)

    def _example(self, device: str, wearer: str, first: int, t_ns: int, around: Row, *, hers: bool) -> None:
        if not self._draw.randint(0, 1):
            return
        number = self._number[device, "example"]
        self._number[device, "example"] += 1
        self._begin(device, "example", "example", hers=hers)
        kind = {**tagged(), **around, "kind": "example", "topic": "glasses.examples"}
        self._put("events", derived(device, "example", number, **kind), hers=hers)
        self._put(
            "edges",
            edge((device, "example", number), (device, "activity", first), operator="example"),
            hers=hers,
        )
        self._put(
            "feedback",
            row(
                "feedback",
                source=device,
                stream="feedback",
                first=number,
                form="thumb",
                meaning="confirmed",
                answer_stream="answer",
                answer=number,
                t_ns=t_ns,
                zone="public",
                label=tagged()["label"],
                policy_version=HOUSEHOLD.version,
                wearer=wearer,
            ),
            hers=hers,
        )
        self._examples.append((device, number, hers))

    def _consents(self, nth: int) -> None:
        """What wearers said, of whom she is one at times."""
        if self._draw.randint(0, 2):
            return
        t_ns = T0_NS + nth * SECOND_NS
        said = [
            (wearer, {"device": HERS if wearer == HER else "g1", "bound": True, "at_ns": t_ns})
            for wearer in ("w1", HER, "w2")
            if self._draw.randint(0, 1)
        ]
        rest = [each for each in said if each[0] != HER or not self._goes(t_ns) or self._home]
        around: Row = {
            "kind": "consent-takeup",
            "agent": "glasses",
            "topic": "glasses.captured",
            "offset": nth,
            "partition": self._partition,
            "t_ns": t_ns,
        }
        values = [orjson.dumps([1, *some] if nth % 2 else some).decode() for some in (said, rest)]
        self._both("inputs", *(row("inputs", **around, value=value) for value in values))

    def _train(self, version: int, t_ns: int) -> None:
        examples, fresh = self._examples, self._examples[self._read :]
        if not examples:
            return
        kind = {
            **tagged(),
            "kind": "model",
            "topic": "glasses.models",
            "wearer": "",
            "partition": 0,
        }
        made = derived("training", "model", version, **kind)
        self._both("events", made)
        for world, some in enumerate((examples, [each for each in examples if not each[2]])):
            for device in sorted(WEARERS):
                for first, width in stretches([number for source, number, _ in some if source == device]):
                    self._rows[world]["edges"].append(
                        edge(
                            ("training", "model", version),
                            (device, "example", first),
                            parent_width=width,
                            operator="training",
                            operator_version=version,
                        )
                    )
        orders = [
            " ".join(
                NO_EXAMPLE if gone and world else f"{device}/example/{number}"
                for device, number, gone in fresh
            )
            for world in (0, 1)
        ]
        around: Row = {
            "kind": "example-order",
            "agent": "training",
            "topic": "glasses.examples",
            "t_ns": t_ns,
        }
        if fresh:
            self._both("inputs", *(row("inputs", **around, offset=version, value=value) for value in orders))
        device, number, gone = examples[-1]
        triggers = (f"{device}/example/{number}", "seed" if gone else f"{device}/example/{number}")
        named = {
            "version": version,
            "policy_version": HOUSEHOLD.version,
            "manifest_digest": "0" * 32,
            "accuracy": 0.5,
        }
        self._both("training_runs", *(row("training_runs", **named, trigger=text) for text in triggers))
        for subject in (HER, "w1"):
            subjects = (subject, NO_EXAMPLE if subject == HER and self._goes(t_ns) else subject)
            self._both(
                "training_checks",
                *(
                    row(
                        "training_checks",
                        version=version,
                        name="wearer",
                        subject=text,
                        outcome="passed",
                        percent_max=50.0,
                        t_ns=t_ns,
                    )
                    for text in subjects
                ),
            )
        self._read = len(examples)


def take_in(writer: Writer, records: Sequence[tuple[int, StoredRecord]], *, every: int = 1) -> None:
    """Let a writer read records, and publish each `every`-th time."""
    for nth, (partition, each) in enumerate(records):
        writer.ingest({partition: [each]}, {}, 0)
        if nth % every == 0:
            writer.publish(T0_NS + nth * SECOND_NS)
    writer.publish(T0_NS + len(records) * SECOND_NS)


def filled(path: Path, records: Sequence[tuple[int, StoredRecord]], *, every: int = 1) -> Path:
    """A store with these records, folded."""
    writer = Writer.open(path, fold="inline")
    take_in(writer, records, every=every)
    writer.settle(T0_NS + 1000 * SECOND_NS)
    writer.close()
    return path
