"""What Sightline 0.1.0 left behind is taken over, or refused in a sentence.

`state-0.1.0.json` holds the entries of `glasses.state` and the records of `glasses.consents` that commit
bc227e1 wrote for a few batches of two devices; `state-windows-by-stream.json` is of a later commit, before
operators had windows and memories of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from msgspec import ValidationError, defstruct, json

from streams.cli.main import main
from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.consent.words import Pairing, Reference, Word
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.record import StoredRecord
from streams.events.state import DeviceState
from streams.pipeline.live import LiveGlasses
from streams.processing.shipped import SHIPPED_OPERATORS as OPERATORS
from streams.snapshots.writer import Writer
from streams.topology import DERIVED
from tests import build
from tests.consent.test_consents import rules_of, states, zones_of
from tests.snapshots.build import event, store

_TEXT = Path(__file__).with_name("state-0.1.0.json").read_text(encoding="utf-8")
#: The policy that was in force then is none of today's; that is not what this is about.
LEFT: dict[str, Any] = orjson.loads(_TEXT.replace("8da6b76285b97bda", build.policy().version))
T_NS = build.T0_NS + 2 * 10**9


def core(*, paired: bool) -> LiveGlasses:
    """A core over the topics that 0.1.0 left, with the devices bound since or not."""
    made = build.core()
    consents = made.followed.consents = Consents()
    for key, value, timestamp_ms in LEFT["consents"]:
        learn_consent(consents, StoredRecord(consents.offset, timestamp_ms, key.encode(), value.encode()))
    for device in ("g1", "g2") if paired else ():
        consents.learn(consents.offset, "w1", Pairing(device, True, 0))
    return made


def test_a_word_of_before_is_that_of_the_device_that_said_it() -> None:
    consents = core(paired=False).followed.consents
    ((_, wearer, word),) = consents.between(0, consents.offset)
    assert wearer == "w1"
    assert isinstance(word, Word)
    assert (word.device, word.incarnation, word.number, word.status) == ("g1", 1, 1, "given")
    found = consents.words("w1", consents.offset).effective(Reference("g1", 1, 1), T_NS, T_NS)
    assert found.consent.text() == "given for ai:ModelTraining dpv:RequestedServiceProvision"


def test_a_state_of_before_goes_on_where_it_was() -> None:
    made = core(paired=True)
    state = made.restore(0, {name: value.encode() for name, value in LEFT["state"].items()})
    assert state.own == {}
    batches = [
        build.imu(0.1, 40, 20, t0_ns=T_NS),
        build.imu(0.1, 60, 20, t0_ns=T_NS),
        build.imu(0.1, 100, 20, t0_ns=T_NS),
        build.feedback(0, "g1/answer/0", "alarm_set", T_NS),
    ]
    records, after = build.process(made, [build.fetch(batches, LEFT["next"])], state)
    assert zones_of(records).keys() == {"g1/imu-right/60", "g1/imu-right/100", "g1/feedback/0"}
    rules = {(row["stream"], row["rule"]) for row in build.lineage(records)["rejected"]}
    # Of a repeat it is not known any more that it is one byte for byte; of an answer not whose it is.
    assert rules == {("imu-right", "repeat"), ("example", "another-wearer")}
    assert states(records) == ["given for ai:ModelTraining dpv:RequestedServiceProvision"] * 2
    assert made.restore(0, made.save(None, after)) == after


def test_devices_of_before_are_refused_until_an_operator_binds_them() -> None:
    made = core(paired=False)
    state = made.restore(0, {name: value.encode() for name, value in LEFT["state"].items()})
    records, _ = build.process(made, [build.fetch([build.imu(0.1, 60, 20)], LEFT["next"])], state)
    assert rules_of(records) == {"g1/imu-right/60": "pairing"}


def test_windows_that_hold_lists_of_numbers_are_taken_over() -> None:
    rows: dict[str, list[Any]] = {
        "imu": [9.81, 10],
        "audio_level": [-60.5, -30.0],
        "location": [[45.0, 13.5], [45, 13]],
        "gaze": [[build.T0_NS, 0.1, -0.0, True], [build.T0_NS + 1, 1e50, 2, False]],
    }
    window = {
        "first": 3, "t_first_ns": 1, "t_last_ns": 2, "zone": "public", "label": "00", "session_id": "s1",
        "wearer_id": "w1", "consent": 1, "origin": "x", "since_ns": 1,
    }  # fmt: skip
    windows = {
        kind.replace("_", "-"): {**window, "kind": kind, "samples": some} for kind, some in rows.items()
    }
    state = OPERATORS.load(orjson.dumps({"incarnation": 2, "windows": windows}))[0]
    for kind, some in rows.items():
        operator = next(one for one in OPERATORS.values() if one.reads == kind)
        held = np.frombuffer(state.windows[operator.name][kind.replace("_", "-")].samples, operator.sample)
        assert (len(held), state.incarnation) == (2, 2)
        expected = [tuple(one) if isinstance(one, list) else one for one in some]
        assert held.tolist() == expected
    assert DeviceState.load(state.dump()) == state


def test_places_of_a_device_without_open_windows_are_kept() -> None:
    state = DeviceState.load(b'{"incarnation":1,"places":[[1,45.0,13.5]],"windows":{}}')
    assert orjson.loads(state.memories["place"]) == [[1, 45.0, 13.5]]
    assert DeviceState.load(b'{"incarnation":1,"places":[],"windows":{}}').memories == {}


def batches_of_since() -> list[Batch]:
    """What came after the states in `state-windows-by-stream.json` were stored."""

    def fixes(first: int, count: int, latitude_deg: float) -> Batch:
        columns = {
            "latitude_deg": [latitude_deg] * count,
            "longitude_deg": [13.5] * count,
            "altitude_m": [1.0] * count,
        }
        return build.batch("location", None, first, count, columns=columns, t0_ns=build.T0_NS + first * 10**9)

    return [
        build.imu(1.2, 130, 100),
        build.imu(0.1, 40, 80, source="g2"),
        build.batch("gaze", None, 50, 10, columns={"worn": [True] * 10}),
        build.batch("gaze", None, 70, 10, columns={"worn": [True] * 10}),
        build.batch("audio_level", None, 70, 40, columns={"rms_dbfs": [-70.5] * 40}),
        fixes(13, 4, 45.02),
        fixes(17, 3, 45.0),
        build.query(1, "where am I", build.T0_NS + 2 * 10**10),
        build.ended(0, build.T0_NS + 3 * 10**10),
        build.ended(0, build.T0_NS + 3 * 10**10, source="g2"),
    ]


def test_windows_by_stream_and_places_go_on_as_those_of_their_operators() -> None:
    """Commit 8b32980 wrote the states and then, of the same batches, the very values that are expected.

    Answers depend on the model that is shipped, which is another since then.
    """
    text = Path(__file__).with_name("state-windows-by-stream.json").read_text(encoding="utf-8")
    left = orjson.loads(text)
    left = orjson.loads(text.replace(left["policy_version"], build.policy().version))
    entries = {name: value.encode() for name, value in left["state"].items()}
    core = build.core()
    assert all(core.readable(name, value) for name, value in entries.items())
    state = core.restore(0, entries)
    device = state.devices["g1"]
    assert {name: list(windows) for name, windows in device.windows.items()} == {
        "activity": ["imu-right"],
        "fixation": ["gaze"],
        "place": ["location"],
        "speech": ["audio-level"],
    }
    assert orjson.loads(device.memories["place"]) == [[1, 45.0, 13.5], [2, 45.01, 13.5]]
    records, after = build.process(core, [build.fetch(batches_of_since(), left["next"])], state)
    written = [
        [record.topic, (record.key or b"").decode(), (record.value or b"").decode()]
        for record in records
        if record.topic == DERIVED
    ]
    assert written == [made for made in left["made"] if made[0] == DERIVED]
    assert core.restore(0, core.save(None, after)) == after


@pytest.mark.parametrize(
    "change",
    [
        {"samples": ""},
        {"samples": "AAAA"},
        {"samples": "no base64"},
        {"samples": [1, [2]]},
        {"samples": None},
    ],
)
def test_a_window_without_samples_of_its_operator_is_an_error(change: dict[str, Any]) -> None:
    _, state = build.process(build.core(), [build.fetch([build.imu(0.1, 0, 20)])])
    form, fields = orjson.loads(state.devices["g1"].dump())
    assert OPERATORS.load(orjson.dumps([form, fields]))[0] == state.devices["g1"]
    fields["windows"]["activity"]["imu-right"] |= change
    with pytest.raises((ValueError, TypeError)):
        OPERATORS.load(orjson.dumps([form, fields]))


def test_a_version_before_refuses_our_states_instead_of_overlooking_what_they_hold() -> None:
    """Its decoder took every object: fields that it did not know were left out without a word."""
    before = defstruct("before", [("places", tuple[tuple[int, float, float], ...], ())])
    with pytest.raises(ValidationError, match="Expected `object`, got `array`"):
        json.decode(DeviceState(memories={"place": b"[[1,45.0,13.5]]"}).dump(), type=before)


@pytest.mark.parametrize("value", [b"[]", b"{}x", b'{"incarnation":"x"}', b'{"seen":{"a":"b"}}'])
def test_what_is_no_state_of_any_version_is_an_error(value: bytes) -> None:
    with pytest.raises((ValidationError, ValueError)):
        DeviceState.load(value)


def test_a_store_of_before_is_refused_in_a_sentence(tmp_path: Path) -> None:
    directory = store(tmp_path / "store", {"events": [event("g1", "imu-right", 0, 20)]})
    for name in ("hot.duckdb", "catalog.duckdb"):
        file = (directory / name).resolve()
        mode = file.stat().st_mode
        file.chmod(0o644)
        with duckdb.connect(str(file)) as connection:
            connection.execute("UPDATE store SET version = 2")
        file.chmod(mode)
    for command in (["ask", "missing"], ["sql", "SELECT 1"], ["policy", "recheck"]):
        result = CliRunner().invoke(main, [*command, "--store", str(directory)])
        assert result.exit_code == 2
        assert (
            "found a store of version 2, expected 4; read it with the sightline that wrote it"
            in result.stderr
        )
    with pytest.raises(
        InputError, match="found store version 2, expected 4; it cannot be taken over: begin a new store"
    ):
        Writer.open(directory)
