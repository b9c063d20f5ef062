"""`sightline demo --rights`: in a demo a wearer withdraws and is erased; then her glasses come back.

They have captured something before, out of reach, and send it when all is over. Everybody else's play on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TypedDict, cast

import orjson

from streams import clock, files
from streams.cli.output import emit_facts
from streams.consent.record import withdrawal_record
from streams.demo import Demo, Part
from streams.errors import InputError, SightlineError
from streams.events.headers import rfc3339
from streams.events.record import Received
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_through
from streams.ledger.records import run_of
from streams.printing import say
from streams.rights.receipt import InvalidReceiptError, subject_of
from streams.rights.signing import PUBLIC, public_key, read_file, verify
from streams.sealing.erasures import Requested, Step
from streams.sealing.key_store import KeyStore
from streams.topology import REJECTED
from streams.worker.on_topics import consents_of_topic

#: By their clocks the glasses end so long ago, so that what she keeps lies before the erasure by any clock.
_BEFORE_NS = 3_600 * 10**9
#: What her glasses captured and had not sent: scenario time, and how fast they send it.
_KEPT_S, _KEPT_SPEED = 20, 20
#: Name of the file that says which devices of a demo are erased.
_ERASED = "erased-devices"


class Told(TypedDict):
    """What happened: times in RFC 3339, seconds from the request to the end of each step, and counts.

    `events_sent` are those that her glasses sent afterwards, `events_refused` those of them that the rule
    `erased` refused. `receipt_valid` is what the code of `sightline rights verify` says of it and of her.
    """

    device: str
    withdrawn: str
    requested: str
    stopped_s: float
    keys_destroyed: int
    keys_destroyed_s: float
    models_withdrawn: int
    model_without_s: float
    rows_taken_out: int
    store_without_s: float
    events_sent: int
    events_refused: int
    receipt: str
    receipt_valid: bool
    salt: str


@dataclass
class Rights:
    """What happens to the wearer with the highest number, in the order of the methods.

    `play` plays glasses with some arguments of `device-sim run` until they end; once the demo is interrupted
    it returns None, and plays nothing.
    """

    demo: Demo
    play: Callable[[Sequence[str]], Part | None]

    def __post_init__(self) -> None:
        number = self.demo.devices
        self.device, self.wearer = f"g{number}", f"w{number}"
        self.receipt = self.demo.run / "receipt.json"
        self._from_ns = self._withdrawn_ns = self._sent = self._refused = 0
        self._salt = b""

    def session(self, scenario: Sequence[str], duration_s: float) -> Told | None:
        """All of it, with arguments of `device-sim run` that every run shares; None if it is interrupted."""
        if self.all_play(scenario, duration_s / 2) is None:
            return None
        self.withdraw()
        eraser = self.erase()
        self.others_play(scenario, duration_s / 2)
        self.finish(eraser)
        return self.told() if self.come_back(scenario) else None

    def all_play(self, scenario: Sequence[str], duration_s: float) -> Part | None:
        """All glasses play, by their clocks an hour ago."""
        self._from_ns = clock.now_ns() - _BEFORE_NS - round(duration_s * 1e9)
        where = ("--start-ns", str(self._from_ns))
        return self.play([*scenario, *where, *_playing(self.demo.devices, duration_s)])

    def withdraw(self) -> None:
        """Withdraw all that the wearer gave, as `sightline consent withdraw` does: she is out of reach."""
        self._withdrawn_ns = asyncio.run(self._say_withdrawn())

    async def _say_withdrawn(self) -> int:
        words = (await consents_of_topic(self.demo.broker)).words_of(self.wearer)
        word = withdrawal_record(self.wearer, sum(not word.device for word in words))
        [placed] = await publish_now(self.demo.broker, [word])
        return placed.appended_ns

    def erase(self) -> Part:
        """Begin to erase her; it takes half a minute, as readers of the store may be at an older epoch."""
        with files.written(self.demo.run / _ERASED) as file:
            file.write(f"{self.device}\n".encode())
        return self.demo.erase(self.wearer, self.receipt)

    def others_play(self, scenario: Sequence[str], duration_s: float) -> None:
        """All glasses but hers play on."""
        self.play([*scenario, *_playing(self.demo.devices - 1, duration_s)])

    def finish(self, eraser: Part) -> dict[str, object]:
        """Wait until the erasure is finished; its answer. SightlineError if it fails."""
        self.demo.show("erasing: waiting for the store to be without her, and for its readers")
        while eraser.process.poll() is None:
            self.demo.watch()
            clock.sleep(0.2)
        with cast("IO[bytes]", eraser.process.stdout) as pipe:
            answer = pipe.read()
        if eraser.process.returncode:
            raise SightlineError(
                f"the erasure ended with code {eraser.process.returncode}: {eraser.last_line()} "
                f"(all of it: {eraser.log})"
            )
        told: dict[str, object] = orjson.loads(answer)
        self._salt = bytes.fromhex(str(told["salt for the wearer"]))
        return told

    def come_back(self, scenario: Sequence[str]) -> bool:
        """Her glasses send what they captured before the erasure and had not sent; whether they did."""
        before = self._count_refused()
        where = ("--start-ns", str(self._from_ns), "--speed", str(_KEPT_SPEED), "--no-faults")
        # By her glasses' clock it goes on where they ended.
        first = ("--first", str(self.demo.devices))
        glasses = self.play([*scenario, *where, *first, *_playing(1, _KEPT_S)])
        if glasses is None:
            return False
        self._sent = int(orjson.loads(glasses.last_line())["events_sent"])
        self.demo.drain()
        self._refused = self._count_refused() - before
        return True

    def _count_refused(self) -> int:
        """Events of her glasses that were refused because she is erased; the store has nothing of her."""
        counts = list[int]()

        def look(record: Received) -> None:
            headers = dict(record.headers)
            run = run_of(headers)
            if record.key == self.device.encode() and headers.get("sightline-rule") == b"erased" and run:
                counts.append(run[3])

        asyncio.run(read_through(self.demo.broker, REJECTED, look))
        return sum(counts)

    def told(self) -> Told:
        """What happened, from what is on record."""
        with contextlib.closing(KeyStore(self.demo.keys)) as keys:
            erasure = keys.erasures.all()[-1]
        steps = erasure.steps
        return Told(
            device=self.device,
            withdrawn=rfc3339(self._withdrawn_ns),
            requested=rfc3339(steps["requested"].at_ns),
            stopped_s=_after_s(erasure, "stopped"),
            keys_destroyed=steps["unreadable"].things,
            keys_destroyed_s=_after_s(erasure, "unreadable"),
            models_withdrawn=steps["models"].things,
            model_without_s=_after_s(erasure, "models"),
            rows_taken_out=steps["store"].things,
            store_without_s=_after_s(erasure, "store"),
            events_sent=self._sent,
            events_refused=self._refused,
            receipt=str(self.receipt),
            receipt_valid=self._is_valid(),
            salt=self._salt.hex(),
        )

    def _is_valid(self) -> bool:
        """Whether the key store's key signed the receipt, and it is hers."""
        try:
            receipt = verify(read_file(self.receipt), public_key(self.demo.keys / PUBLIC))
        except InvalidReceiptError:
            return False
        return hmac.compare_digest(receipt.subject, subject_of(self.wearer, self._salt))


def check(demo: Demo) -> None:
    """InputError if there is nobody else, or the demos on this store have erased somebody."""
    if demo.devices == 1:
        raise InputError("--devices: found 1 with --rights, expected at least 2, because others play on")
    if erased := erased_devices(demo):
        raise InputError(
            f"--rights: found that an earlier demo on {demo.store} erased the wearer of {erased[0]}, "
            "expected a store on which nobody was; name another one with --store"
        )


def erased_devices(demo: Demo) -> list[str]:
    """Devices whose wearers the demos on this store have erased."""
    path = demo.run / _ERASED
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def findings_of(told: Told) -> list[str]:
    """What should not be."""
    findings = []
    if not told["events_sent"] or told["events_refused"] != told["events_sent"]:
        findings.append(
            f"{told['events_sent']:,} events came back after the erasure and {told['events_refused']:,} were"
            " refused for that, expected some, and all"
        )
    if not told["receipt_valid"]:
        findings.append(f"{told['receipt']} is no valid receipt of hers")
    return findings


def say_told(told: Told) -> None:
    """Print what happened to her."""
    say()
    say(f"the wearer of {told['device']}")
    emit_facts(
        {
            "withdrawn": told["withdrawn"],
            "erasure requested": told["requested"],
            "use stopped": f"after {told['stopped_s']:.1f} s",
            "keys destroyed": f"{told['keys_destroyed']:,}, after {told['keys_destroyed_s']:.1f} s",
            "model without her": f"serves after {told['model_without_s']:.1f} s; "
            f"{told['models_withdrawn']:,} versions withdrawn",
            "store without her": f"after {told['store_without_s']:.1f} s; "
            f"{told['rows_taken_out']:,} rows taken out",
            "came back": f"{told['events_sent']:,} events, {told['events_refused']:,} refused",
            "receipt": f"{told['receipt']}, {'valid' if told['receipt_valid'] else 'not valid'}",
            "salt for her": told["salt"],
        }
    )


def _playing(devices: int, duration_s: float) -> tuple[str, ...]:
    return "--devices", str(devices), "--duration-s", str(duration_s)


def _after_s(erasure: Requested, step: Step) -> float:
    return round((erasure.steps[step].at_ns - erasure.steps["requested"].at_ns) / 1e9, 2)
