"""Whatever lies on a topic, whoever of ours reads it survives; what is refused is said, and work is bounded.

500 records a topic, or as many as SIGHTLINE_HOSTILE_RECORDS says. A topic without a reader here fails.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from device_sim.files import read_answer, read_notice
from streams.consent.notified import notified_of
from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.errors import MalformedError
from streams.events.record import Fetch, LiveCore, Outgoing, Received, StoredRecord
from streams.kafka import checkpoint, restore
from streams.ledger.records import Records
from streams.ledger.topics import Topics
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.live import LiveTraining
from streams.snapshots.writer import Writer
from streams.topology import (
    ANSWERS,
    CAPTURED,
    CONSENTS,
    DERIVED,
    EXAMPLES,
    LINEAGE,
    MODELS,
    NOTICES,
    POLICIES,
    REJECTED,
    STATE,
    TOPICS,
    ZONED,
)
from streams.training.check import can_serve
from streams.worker.on_topics import policies_of
from tests import build
from tests.hostile import litter
from tests.hostile.test_cores import no_fit
from tests.hostile.test_tables import Checker

State = TypeVar("State")
RECORDS = int(os.environ.get("SIGHTLINE_HOSTILE_RECORDS", "500"))
AT_ONCE = 25
#: Of the values that a core writes, for each byte of the values that it read, and for each record.
BYTES_OUT_PER_BYTE, BYTES_OUT_PER_RECORD = 8, 20_000
NOW_MS = build.T0_NS // 1_000_000 + 10_000


def stored(outgoing: Sequence[Outgoing]) -> list[StoredRecord]:
    return [
        StoredRecord(offset, one.timestamp_ms, one.key, one.value, tuple(one.headers))
        for offset, one in enumerate(outgoing)
    ]


@cache
def goods() -> Mapping[str, Sequence[StoredRecord]]:
    """What lies on each topic after a short day of one wearer."""
    said = [
        *(build.imu(0.5, 20 * i, 20) for i in range(6)),
        build.batch("gaze", None, 0, 60),
        build.batch("location", None, 0, 10),
        *(
            one
            for i in range(3)
            for one in (
                build.query(i, "wake me at seven", build.T0_NS + i * 10**9),
                build.feedback(i, f"g1/answer/{i}", "alarm_set", build.T0_NS + i * 10**9 + 1),
            )
        ),
        build.gives(2, 1, build.T0_NS + 5 * 10**9),
        build.ended(0, build.T0_NS + 6 * 10**9),
    ]
    captured = [build.record(one, offset) for offset, one in enumerate(said)]
    spoiled = [*captured, StoredRecord(len(captured), NOW_MS, b"g1", b"no JSON")]
    core = build.core()
    outcome = build.step(core, build.begun(), Fetch(CAPTURED, 0, spoiled))
    by_topic: dict[str, list[Outgoing]] = {}
    for one in [*outcome.outputs, *first_records(build.policy(), build.T0_NS)]:
        by_topic.setdefault(one.topic, []).append(one)
    by_topic[STATE] = checkpoint.outputs("glasses", 0, core.save(None, outcome.state), 10, NOW_MS)
    found = {topic: stored(some) for topic, some in by_topic.items()}
    return {**found, CAPTURED: captured, CONSENTS: [*build.consent_records()[:4], *found[CONSENTS]]}


def through(core: LiveCore[State], state: State, topic: str, littered: Sequence[StoredRecord]) -> State:
    """A fetch of litter through a core: each record is taken, dropped as a repeat, or rejected in place."""
    records = [
        replace(one, offset=offset, timestamp=min(max(one.timestamp, 0), 2**61))
        for offset, one in enumerate(littered)
    ]
    outcome = build.run(build.computed(core, state, Fetch(topic, 0, records)))
    rejected = Counter(
        int(dict(one.headers)["sightline-place"].split()[2])
        for one in outcome.outputs
        if one.topic == REJECTED and dict(one.headers).get("sightline-rule") == b"malformed"
    )
    assert all(times == 1 for times in rejected.values())
    assert rejected.keys() <= set(range(len(records)))
    for one in outcome.outputs:
        headers = dict(one.headers)
        assert headers.get("sightline-rule") != b"poisoned", "the core's own checks find what is wrong"
    read = sum(len(one.value or b"") for one in records)
    written = sum(len(one.value or b"") for one in outcome.outputs)
    assert written <= read * BYTES_OUT_PER_BYTE + len(records) * BYTES_OUT_PER_RECORD
    return outcome.state


def survive_captured(littered: Sequence[StoredRecord], _path: Path) -> None:
    core = build.core()
    state = through(core, build.begun(), CAPTURED, littered)
    saved = core.save(None, state)
    assert core.save(None, core.restore(0, saved)) == saved


def survive_examples(littered: Sequence[StoredRecord], _path: Path) -> None:
    async def history(offset: int) -> Sequence[Received]:
        return [one for one in littered if one.offset <= offset]

    core = LiveTraining(build.followed(), history, no_fit, 3)
    through(core, core.empty(0), EXAMPLES, littered)


def survive_models(littered: Sequence[StoredRecord], _path: Path) -> None:
    known = build.followed().models.now
    made = ModelTable(lambda version: can_serve(version, {build.policy().version: build.policy()}))
    for one in goods()[MODELS]:
        made.learn(one.key, one.value)
    for one in littered:
        try:
            made.learn(one.key, one.value)
        except MalformedError as error:
            assert 10 < len(str(error)) < 1000
    now = made.now
    assert now.current in now.versions
    assert now.versions[1].dump() == known.versions[1].dump()
    assert len(now.version(now.current).model.predict(["wake me at seven"])) == 1


def survive_policies(littered: Sequence[StoredRecord], _path: Path) -> None:
    good = goods()[POLICIES]
    mixed = [replace(one, offset=offset) for offset, one in enumerate([*good, *littered])]
    table = build.run(policies_of(mixed, Checker()))
    found = table.now
    assert found.version(build.policy().version).text == build.policy().text
    assert found.version(found.current).zones
    assert table.offset == len(mixed)
    assert {one.offset for one in found.refused} <= set(range(len(good), len(mixed)))
    assert all(10 < len(one.reason) < 1000 for one in found.refused)


def survive_consents(littered: Sequence[StoredRecord], _path: Path) -> None:
    made = Consents()
    for one in [*build.consent_records(), *littered]:
        try:
            learn_consent(made, one)
        except MalformedError as error:
            assert 10 < len(str(error)) < 1000
    assert made.pairings[("g4", "w3")], "nothing of others is touched"


def survive_state(littered: Sequence[StoredRecord], _path: Path) -> None:
    """What cannot be read is named, and no stage stumbles over the rest."""
    mixed = [*goods()[STATE], *littered]
    core = build.core()

    async def read_through(
        _broker: str, _topic: str, take: Callable[[Received], None], *_at: int, **_: Any
    ) -> None:
        for one in mixed:
            take(one)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "read_through", read_through)
        stored = build.run(checkpoint.load("nowhere", "glasses", 0, wait_s=1))
    found = build.run(restore._believed(core, 0, stored))
    prefix = b"glasses/0/"
    named = {(one.key or b"")[len(prefix) :] for one in mixed if (one.key or b"").startswith(prefix)}
    assert {name.encode() for name in stored.lost | found.lost} <= named
    if found.state is not None:
        through(core, found.state, CAPTURED, goods()[CAPTURED])


def survive_lineage(littered: Sequence[StoredRecord], path: Path) -> None:
    """Every record is in the store as rows, or as one row of `rejected`."""
    writer = Writer.open(path)
    try:
        honest = [replace(one, offset=offset) for offset, one in enumerate(goods()[LINEAGE])]
        rest = [replace(one, offset=len(honest) + offset) for offset, one in enumerate(littered)]
        writer.ingest({0: [*honest, *rest]}, {}, build.T0_NS)
        writer.publish(build.T0_NS)
        assert writer.offsets() == {0: len(honest) + len(rest)}
    finally:
        writer.close()


def survive_answers(littered: Sequence[StoredRecord], path: Path) -> None:
    for one in littered:
        assert len(read_answer(one.value)) <= len(one.value or b"")
    survive_tagged(littered, path)


def survive_tagged(littered: Sequence[StoredRecord], _path: Path) -> None:
    """The ledger reads headers, and counts what names no events."""
    whole, found = Records(whole=True), Records()
    for one in littered:
        for records in (whole, found):
            records.take(litter.told(one), one.value, 0, one.offset)
    assert len(found) + found.unreadable == len(littered) == found.records


def survive_rejected(littered: Sequence[StoredRecord], _path: Path) -> None:
    topics = Topics()
    for one in littered:
        headers = litter.told(one)
        topics.refusal(headers).take(headers, one.value, 0, one.offset)
    assert sum(records.records for records in topics.refusals()) == len(littered)


def survive_notices(littered: Sequence[StoredRecord], _path: Path) -> None:
    notified, strange = notified_of(littered)
    assert len(notified) + strange <= len(littered)
    for each in littered:
        notice = read_notice(each.value)
        assert notice is None or all(isinstance(line, str) for line in notice.lines)


SURVIVE: Mapping[str, Callable[[Sequence[StoredRecord], Path], None]] = {
    CAPTURED: survive_captured,
    ZONED: survive_tagged,
    DERIVED: survive_tagged,
    ANSWERS: survive_answers,
    EXAMPLES: survive_examples,
    MODELS: survive_models,
    POLICIES: survive_policies,
    CONSENTS: survive_consents,
    NOTICES: survive_notices,
    REJECTED: survive_rejected,
    STATE: survive_state,
    LINEAGE: survive_lineage,
}


def test_every_topic_has_a_reader_here_and_good_records() -> None:
    assert SURVIVE.keys() == {topic.name for topic in TOPICS}
    assert all(goods()[topic.name] for topic in TOPICS)


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS])
def test_who_reads_a_topic_survives_whatever_lies_there(
    topic: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    survive = SURVIVE[topic]

    @settings(
        max_examples=-(-RECORDS // AT_ONCE),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )
    @given(st.lists(litter.CHOICES, min_size=AT_ONCE, max_size=AT_ONCE))
    def survives(choices: Sequence[litter.Choice]) -> None:
        spoiled = [
            replace(litter.spoiled(goods()[topic], choice), offset=offset)
            for offset, choice in enumerate(choices)
        ]
        survive(spoiled, tmp_path_factory.mktemp("store") / "store")

    survives()
