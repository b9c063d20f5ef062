"""An erasure names a mark; what its wearer captured before is refused whenever it comes, and no other."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from streams.consent.erased import Scope
from streams.consent.record import (
    erasure_record,
    learn_consent,
    withdrawal_record,
)
from streams.consent.words import Pairing
from streams.events.batch import Batch
from streams.events.record import Outgoing, StoredRecord
from streams.events.state import DeviceState
from streams.models.pointer import Pointer, Rollback
from streams.models.version import CURRENT_KEY
from streams.pipeline.live import LiveGlasses
from streams.policy.load import parse
from streams.policy.versions import PolicyVersions
from streams.topology import EXAMPLES, LINEAGE, REJECTED, ZONED
from tests import build

T0_NS, S_NS = build.T0_NS, 10**9
#: To the end of the millisecond in which the broker takes the statement.
ERASED_NS = T0_NS + 10 * S_NS + 999_999


def mark_of(wearer: str) -> str:
    return hashlib.sha256(b"secret" + wearer.encode()).hexdigest()[:32]


def stored(offset: int, record: Outgoing, at_ns: int = ERASED_NS) -> StoredRecord:
    return StoredRecord(offset, at_ns // 1_000_000, record.key, record.value)


def erase(
    of: LiveGlasses, wearer: str, *, withdrawn: bool = True, since_ns: int = 0, scope: Scope | None = None
) -> None:
    """Let a worker read the erasure of a wearer, and the withdrawal before it."""
    scope = scope or Scope(since_ns)
    consents = of.followed.consents
    consents.mark = mark_of
    if withdrawn:
        learn_consent(consents, stored(consents.offset, withdrawal_record(wearer, 0)))
    learn_consent(consents, stored(consents.offset, erasure_record(mark_of(wearer), 7, scope)))


def of_wearer(wearer: str, batch: Batch) -> Batch:
    return structs.replace(batch, wearer_id=wearer)


def zoned(records: Sequence[Outgoing]) -> set[str]:
    return {dict(record.headers)["ce_id"].decode() for record in records if record.topic == ZONED}


def rejected(records: Sequence[Outgoing]) -> list[dict[str, bytes]]:
    return [dict(record.headers) for record in records if record.topic == REJECTED]


def test_what_was_captured_before_the_scope_is_taken_and_a_batch_that_reaches_into_it_is_not() -> None:
    core = build.core()
    since_ns = ERASED_NS - 3 * S_NS
    erase(core, "w1", withdrawn=False, since_ns=since_ns)
    batches = [
        build.imu(1.2, 0, 20, t0_ns=since_ns - S_NS),
        build.imu(1.2, 20, 20, t0_ns=since_ns - 50_000_000),
        build.imu(1.2, 40, 20, t0_ns=since_ns + S_NS),
        build.imu(1.2, 60, 20, t0_ns=ERASED_NS + S_NS),
    ]
    sent = [
        build.record(each, offset, timestamp=(each.t0_ns + 200_000_000) // 1_000_000)
        for offset, each in enumerate(batches)
    ]
    records, _ = build.process(core, [replace(build.fetch([]), records=sent)])
    assert zoned(records) == {"g1/imu-right/0", "g1/imu-right/60"}
    assert [(each["ce_id"], each["sightline-rule"]) for each in rejected(records)] == [
        (b"g1/imu-right/20", b"erased"),
        (b"g1/imu-right/40", b"erased"),
    ]


def test_what_was_captured_before_is_refused_without_its_bytes_and_without_the_name() -> None:
    core = build.core()
    records, state = build.process(core, [build.fetch([build.imu(1.2, 0, 20)])])
    assert zoned(records) == {"g1/imu-right/0"}
    erase(core, "w1")
    late = [build.imu(1.2, at, 20, t0_ns=ERASED_NS - S_NS + at) for at in (20, 40)]
    records, state = build.process(core, [build.fetch(late, 1)], state)
    assert not zoned(records)
    refused = rejected(records)
    assert {each["sightline-rule"] for each in refused} == {b"erased"}
    assert [each["ce_id"] for each in refused] == [b"g1/imu-right/20", b"g1/imu-right/40"]
    assert not any(record.value for record in records if record.topic == REJECTED)
    written = b"".join(record.value or b"" for record in records if record.topic == LINEAGE)
    rows = build.lineage(records)["rejected"]
    assert {row["wearer"] for row in rows} == {""}
    assert b"erased" in written


def test_a_batch_that_begins_before_goes_whole_and_a_clock_that_is_ahead_saves_nothing() -> None:
    core = build.core()
    erase(core, "w1", withdrawn=False)
    ahead = build.imu(1.2, 0, 20, t0_ns=ERASED_NS + S_NS)
    over = build.imu(1.2, 20, 20, t0_ns=ERASED_NS - 50_000_000)
    at = build.imu(1.2, 40, 20, t0_ns=ERASED_NS)
    behind = build.imu(1.2, 60, 20, t0_ns=ERASED_NS + 1)
    appended_ms = [(ERASED_NS + more_ns) // 1_000_000 for more_ns in (-S_NS, S_NS, S_NS, S_NS)]
    batches = zip((ahead, over, at, behind), appended_ms, strict=True)
    sent = [build.record(each, place, timestamp=ms) for place, (each, ms) in enumerate(batches)]
    records, _ = build.process(core, [replace(build.fetch([]), records=sent)])
    assert zoned(records) == {behind.first_id}
    assert [each["sightline-rule"] for each in rejected(records)] == [b"erased"] * 3


@pytest.mark.parametrize(
    ("back_ns", "passes"), [(ERASED_NS - S_NS, False), (ERASED_NS, False), (ERASED_NS + 1, True)]
)
def test_a_clock_that_is_set_back_in_the_middle_of_a_stretch_brings_nothing_through(
    back_ns: int, passes: bool
) -> None:
    """The batch goes on where the one before ended, and only its time is of before, or the erasure's own."""
    core = build.core()
    erase(core, "w1", withdrawn=False)
    times_ns = (ERASED_NS + S_NS, ERASED_NS + 2 * S_NS, back_ns, ERASED_NS + 3 * S_NS)
    batches = [build.imu(1.2, at * 20, 20, t0_ns=t0_ns) for at, t0_ns in enumerate(times_ns)]
    later_ms = (ERASED_NS + 9 * S_NS) // 1_000_000
    sent = [build.record(each, at, timestamp=later_ms) for at, each in enumerate(batches)]
    records, _ = build.process(core, [replace(build.fetch([]), records=sent)])
    assert zoned(records) == {batches[at].first_id for at in ((0, 1, 2, 3) if passes else (0, 1, 3))}
    refused = [(each["ce_id"], each["sightline-rule"]) for each in rejected(records)]
    assert refused == ([] if passes else [(batches[2].first_id.encode(), b"erased")])


def test_what_came_before_and_comes_again_brings_no_name_back_whatever_refuses_it() -> None:
    core = build.core()
    first = build.imu(1.2, 0, 20)
    other = build.imu(0.1, 0, 20)
    _, state = build.process(core, [build.fetch([first])])
    erase(core, "w1")
    unpaired = structs.replace(first, source="h9", wearer_id="w1")
    records, _ = build.process(core, [build.fetch([first, other, unpaired], 1)], state)
    assert {each["sightline-rule"] for each in rejected(records)} == {b"collision", b"pairing"}
    rows = build.lineage(records)["rejected"]
    assert {row["rule"] for row in rows} == {"collision", "pairing", "repeat"}
    assert {row["wearer"] for row in rows} == {""}


def test_another_erasure_takes_nothing_from_who_came_back() -> None:
    core = build.core()
    erase(core, "w1")
    later = ERASED_NS + S_NS
    batches = [
        build.gives(2, 0, later, consent=1),
        *(build.imu(1.2, at, 20, t0_ns=later + S_NS + at, consent=2) for at in range(0, 100, 20)),
    ]
    _, state = build.process(core, [build.fetch(batches)])
    known = state.devices["g1"].known_streams
    assert known
    consents = core.followed.consents
    learn_consent(consents, stored(consents.offset, erasure_record(mark_of("nobody"), 8), later))
    other = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=later + 2 * S_NS, consent=0))
    _, after = build.process(core, [build.fetch([other], len(batches))], state)
    assert after.devices["g1"] == state.devices["g1"]


def test_a_later_consent_is_taken_and_only_for_what_is_captured_after() -> None:
    core = build.core()
    erase(core, "w1")
    later = ERASED_NS + S_NS
    batches = [
        build.gives(2, 0, later, consent=1),
        build.imu(1.2, 0, 20, t0_ns=later + S_NS, consent=2),
        build.imu(1.2, 20, 20, t0_ns=ERASED_NS - S_NS, consent=2),
    ]
    records, _ = build.process(core, [build.fetch(batches)])
    assert "g1/imu-right/0" in zoned(records)
    assert "g1/imu-right/20" not in zoned(records)


def test_nobody_else_is_touched_on_the_same_device_or_another() -> None:
    core = build.core()
    for device in ("g1", "g2"):
        core.followed.consents.learn(core.followed.consents.offset, "w2", Pairing(device, True, 0))
    erase(core, "w1")
    batches = [
        of_wearer("w2", build.imu(1.2, 0, 20, consent=0)),
        of_wearer("w2", build.imu(1.2, 0, 20, source="g2", consent=0)),
    ]
    records, _ = build.process(core, [build.fetch(batches)])
    assert not [each for each in rejected(records) if each["sightline-rule"] == b"erased"]


def test_open_windows_and_answers_are_let_go_so_that_nothing_is_made_of_them() -> None:
    asked_ns = T0_NS + 5 * S_NS
    before = [
        *(build.imu(1.2, at * 20, 20) for at in range(5)),
        build.query(7, "wake me at seven", asked_ns),
    ]
    after = build.feedback(3, "g1/answer/7", "alarm_set", ERASED_NS + S_NS)
    made, state = build.process(build.core(), [build.fetch(before), build.fetch([after], len(before))])
    assert [record for record in made if record.topic == EXAMPLES], "without an erasure it teaches"

    core = build.core()
    _, state = build.process(core, [build.fetch(before)])
    assert b"wake me" in b"".join(core.save(None, state).values())
    erase(core, "w1", withdrawn=False)
    records, state = build.process(core, [build.fetch([after], len(before))], state)
    assert not [record for record in records if record.topic == EXAMPLES]
    kept = b"".join(core.save(None, state).values())
    assert b"wake me" not in kept
    assert not state.devices["g1"].windows


def _lived(source: str, wearer: str) -> list[Batch]:
    """Motion with a hole in it, so that windows are kept for what is late, and a question."""
    motion = [
        build.imu(1.2, at * 20, 20, source=source, t0_ns=T0_NS + at * 200_000_000)
        for at in range(13)
        if at != 3
    ]
    query = build.query(7, "wake me at seven", T0_NS + 2 * S_NS, source=source)
    return [of_wearer(wearer, batch) for batch in (*motion, query)]


def test_all_goes_of_which_something_could_still_be_made_and_nothing_of_others() -> None:
    core = build.core()
    batches = [*_lived("g1", "w1"), *_lived("g2", "w2")]
    _, state = build.process(core, [build.fetch(batches)])
    # No operator that is shipped remembers anything beyond its windows.
    remembering = {
        name: structs.replace(device, memories={"activity": b"what an operator wrote"})
        for name, device in state.devices.items()
    }
    state = replace(state, devices=state.devices.changed(remembering))

    def held(of: DeviceState) -> list[object]:
        return [of.windows, of.kept, of.recents, of.answers]

    assert all(held(state.devices["g1"])), "there is something of everything"
    erase(core, "w1", withdrawn=False)
    # A repeat of somebody else's: it changes nothing there.
    foreign = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=T0_NS))
    _, after = build.process(core, [build.fetch([foreign], len(batches))], state)
    gone, others = after.devices["g1"], after.devices["g2"]
    assert not any(held(gone))
    assert (gone.memories, gone.known_streams) == ({}, ())
    assert held(others) == held(state.devices["g2"])


def test_what_the_next_policy_is_tried_on_goes_too() -> None:
    core = build.core()
    trial = parse(f"{build.policy().text}\n# another version\n", "household")
    known = {each.version: each for each in (build.policy(), trial)}
    core.followed.policies.now = PolicyVersions(known, build.policy().version, trial.version)
    batches = [*_lived("g1", "w1"), *_lived("g2", "w2")]
    _, state = build.process(core, [build.fetch(batches)])
    assert "g1" in state.shadow[1]
    erase(core, "w1", withdrawn=False)
    foreign = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=T0_NS))
    _, after = build.process(core, [build.fetch([foreign], len(batches))], state)
    left = dict(after.shadow[1].items())
    assert "g1" not in left or not left["g1"].answers


def test_states_of_devices_that_do_not_send_are_cleared_too_and_others_stay() -> None:
    core = build.core()
    query = build.query(7, "wake me at seven", T0_NS + S_NS)
    other = of_wearer("w2", build.query(8, "what is the weather", T0_NS + S_NS, source="g2"))
    _, state = build.process(core, [build.fetch([query, other])])
    assert {name for name, device in state.devices.items() if device.answers} == {"g1", "g2"}
    erase(core, "w1")
    foreign = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=ERASED_NS + S_NS))
    _, after = build.process(core, [build.fetch([foreign], 2)], state)
    assert not after.devices["g1"].answers
    assert after.devices["g2"].answers == state.devices["g2"].answers
    assert set(core.save(state, after)) > {"g1"}, "the checkpoint writes it over what was on the topic"


@pytest.mark.parametrize("policy_first", [True, False])
def test_a_policy_switch_beside_it_keeps_nothing_and_lets_nothing_pass(policy_first: bool) -> None:
    """In whichever order both come: in one fetch, or the erasure in the fetch after the switch."""
    core = build.core()
    query = build.query(7, "wake me at seven", T0_NS + S_NS)
    before = [*(build.imu(1.2, at * 20, 20) for at in range(4)), query]
    _, state = build.process(core, [build.fetch(before)])
    assert state.devices["g1"].windows
    other = parse(f"{build.policy().text}\n# another version\n", "household")
    core.followed.policies.now = PolicyVersions.of(build.policy(), other)
    offset = len(before)
    if policy_first:
        foreign = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=ERASED_NS + S_NS))
        _, state = build.process(core, [build.fetch([foreign], offset)], state)
        offset += 1
    erase(core, "w1", withdrawn=False)
    late = [build.imu(1.2, 80, 20), build.feedback(3, "g1/answer/7", "alarm_set", ERASED_NS + S_NS)]
    records, state = build.process(core, [build.fetch(late, offset)], state)
    assert state.policy_version == other.version
    assert zoned(records) == {"g1/feedback/3"}
    assert not [record for record in records if record.topic == EXAMPLES]
    assert [each["sightline-rule"] for each in rejected(records)] == [b"erased", b"feedback"]
    assert b"wake me" not in b"".join(core.save(None, state).values())
    assert not state.devices["g1"].windows


@pytest.mark.parametrize("seed", range(20))
def test_in_random_worlds_nothing_of_before_passes_and_all_else_passes_as_without(seed: int) -> None:
    """The oracle is a run without the erasure: what is of another time, or of others, is the same."""
    draw, since_ns = random.Random(seed), (seed % 2) * (ERASED_NS - 5 * S_NS // 2)
    first = dict.fromkeys(("g1", "g2"), 0)
    batches = []
    for at in range(30):
        source, wearer = draw.choice((("g1", "w1"), ("g2", "w2")))
        early = draw.random() < 0.5
        t0_ns = ERASED_NS + (-1 if early else 1) * draw.randrange(1, 5) * S_NS + at
        batches.append(of_wearer(wearer, build.imu(1.2, first[source], 20, source=source, t0_ns=t0_ns)))
        first[source] += 20

    def passed(*, erased: bool) -> set[str]:
        core = build.core()
        if erased:
            erase(core, "w1", withdrawn=not since_ns, since_ns=since_ns)
        elif not since_ns:
            word = withdrawal_record("w1", 0)
            learn_consent(core.followed.consents, stored(core.followed.consents.offset, word))
        records, _ = build.process(core, build.cut(batches, [draw.randrange(1, 9)]))
        return zoned(records)

    gone = {
        batch.first_id
        for batch in batches
        if batch.wearer_id == "w1" and since_ns <= batch.t0_ns <= ERASED_NS
    }
    assert passed(erased=True) == passed(erased=False) - gone


def test_the_version_after_an_erasure_serves_with_no_candidate_and_training_owes_a_run() -> None:
    back = Rollback(1, 3, "erasure 7", ERASED_NS, erasure=True)
    assert Pointer.load(Pointer(1, back).dump()) == Pointer(1, back)
    models = build.followed().models
    models.now = replace(models.now, candidate=2)
    models.learn(CURRENT_KEY, Pointer(1, back).dump())
    assert (models.now.serving, models.now.candidate) == (1, 0)
