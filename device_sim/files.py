"""The device's journal on disk: written before a batch is sent, and read when a device restarts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson
from msgspec import Struct, ValidationError, convert

from device_sim import own_consent
from device_sim.device import Captured, Past
from streams import files, locking
from streams.errors import InputError, UnavailableError
from streams.events import codec, headers, journal
from streams.events.identity import incarnation_of
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What earlier runs left: the state of the device, and its unacknowledged batches in order."""

    past: Past
    unacknowledged: tuple[journal.Sent, ...]
    arrived: int  #: copies that got through, where there was no broker


def path_of(directory: Path, device: str) -> Path:
    """Path of a device's journal."""
    return directory / f"{device}.jsonl"


def read_journal(path: Path, kinds: Kinds = SHIPPED) -> EarlierRun:
    """Read a journal of a device that captures some of `kinds`; InputError if the file is no journal."""
    next_numbers: dict[str, int] = {}
    sessions = last_capture_ns = arrived = 0
    incarnation, context = 1, None
    consents: dict[str, own_consent.OwnConsent] = {}
    decode = codec.codec_of(kinds).decode
    unacknowledged: dict[str, journal.Sent] = {}
    try:
        for sent in journal.sent(path):
            batch = decode(sent.value, 0, content_type=headers.content_type_of(sent.headers))
            next_numbers[sent.stream] = sent.first + sent.count
            sessions = max(sessions, int(batch.session_id[1:]))
            last_capture_ns = max(last_capture_ns, batch.last_ns)
            incarnation = max(incarnation, incarnation_of(sent.stream))
            context = batch.changes[-1][1] if batch.changes else batch.context
            if batch.kind == own_consent.KIND:
                before = consents.get(batch.wearer_id, own_consent.OwnConsent())
                consents[batch.wearer_id] = before.after(batch)
            unacknowledged[sent.id] = sent
        for line in journal.lines(path):
            if line["line"] == "ack":
                unacknowledged.pop(line["id"], None)
                arrived = max(arrived, line["offset"] + 1)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: found a line that is no device's journal line ({error}); name another --journal."
        ) from error
    past = Past(next_numbers, sessions, last_capture_ns, incarnation, consents, context)
    return EarlierRun(past, tuple(unacknowledged.values()), arrived)


class Journal:
    """Journal of one device, `<directory>/<device>.jsonl`, opened for appending by this process exclusively.

    Guarantee: when `write` returns, the batch and its truth are written to the file, so a crash of the
    process loses no number that was ever sent. A crash of the machine may, because there is no fsync.

    `kinds` are those that the device may have captured.

    Raises
    ------
    InputError
        The file is no journal, or the directory cannot be written.
    UnavailableError
        Another process has it open.
    """

    def __init__(self, directory: Path, device: str, kinds: Kinds = SHIPPED) -> None:
        self.path = path_of(directory, device)
        files.make_directory(directory)
        self._file = files.append(self.path)
        try:
            self._claim()
            self._cut()
            self.earlier = read_journal(self.path, kinds)
            self._arrived = self.earlier.arrived
        except BaseException:
            self.close()
            raise

    def _claim(self) -> None:
        # Two processes that continue from the same number would both use the next one.
        try:
            locking.claim(self._file)
        except BlockingIOError:
            raise UnavailableError(
                f"{self.path}: another device-sim is writing this journal. Wait until it has ended, or name"
                " another --journal."
            ) from None

    def _cut(self) -> None:
        # Truth and batch are written in one call, truth first. Anything after the last complete batch or
        # acknowledgement was cut off by a crash before it was sent, so its numbers are used again.
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and not line.startswith(b'{"line":"truth"'):
                    whole = file.tell()
        self._file.truncate(whole)

    def write(self, captured: Captured, sent_ns: int) -> journal.Sent:
        """Append a batch that is about to be sent, with its truth; return it in the form to send."""
        batch = captured.batch
        sent = journal.Sent(
            batch.first_id,
            batch.source.encode(),
            codec.encode(batch),
            tuple(headers.envelope(batch)),
            batch.t0_ns // 1_000_000,
            sent_ns,
            batch.stream,
            batch.run.first,
            batch.run.count,
        )
        truth = [
            journal.truth_line(batch.source, batch.stream, run.first, run.count, zone)
            for run, zone in captured.truth
            if zone
        ]
        self._file.write(b"".join([*truth, journal.sent_line(sent)]))
        return sent

    def acknowledged(
        self, batch_id: str, partition: int, offset: int, sent_ns: int, acked_ns: int, appended_ns: int
    ) -> None:
        """Append the acknowledgement of one copy of a batch; a batch may have several copies."""
        self._file.write(journal.ack_line(batch_id, partition, offset, sent_ns, acked_ns, appended_ns))

    def arrived(self, batch_id: str, now_ns: int) -> None:
        """Append an acknowledgement in a run without a broker, with the device's next own offset."""
        self.acknowledged(batch_id, 0, self._arrived, now_ns, now_ns, now_ns)
        self._arrived += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class HeardNotice(Struct, frozen=True):
    """A notice that is for a device to show to a wearer; `lines` are sentences."""

    device: str
    wearer: str
    version: str
    controller: str
    lines: tuple[str, ...]


def read_notice(value: bytes | None) -> HeardNotice | None:
    """The notice in a record of `glasses.notices`; None for any other record, also a malformed one."""
    try:
        notice = orjson.loads(value or b"")["notice"]
        return convert(notice, HeardNotice)
    except (KeyError, TypeError, orjson.JSONDecodeError, ValidationError):
        return None


def read_answer(value: bytes | None) -> list[tuple[str, str, int, str]]:
    """(device, stream, query number, intent) of each answer to a query in a record of `glasses.answers`.

    Empty for a malformed record. Answers to requests are left out, because their numbers are not of queries.
    """
    try:
        fields = orjson.loads(value or b"")
        stream = fields["stream"]
        if stream.partition("~")[0] != "answer":
            return []
        intents = fields["columns"]["intent"]
        return [
            (fields["device_id"], stream, fields["first"] + i * fields.get("step", 1), intent)
            for i, intent in enumerate(intents)
        ]
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError):
        return []
