"""What a device sends: numbers, batches, headers, order and truth."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sim import scenarios
from device_sim.device import Captured, Clock, Device, Past
from device_sim.own_consent import OwnConsent
from device_sim.playback import timeline
from device_sim.scenarios import PERIOD_NS, THERMAL_PERIODS, Scenario
from device_sim.wearer import Queries, Wearer
from streams import limits
from streams.errors import InputError
from streams.events import codec, journal
from streams.events.shipped import SHIPPED
from tests import build
from tests.device_sim.play import START_NS, batches, by_stream, play, truth

STREAMS = {"device-state", "imu-right", "location", "voice-query", "feedback", "consent-change"}
SMOKE = scenarios.load("smoke")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("journal")
    play(directory)
    return directory


def make_device(past: Past | None = None, scenario: Scenario = SMOKE, drift_ppm: int = 0) -> Device:
    wearer = Wearer("g1", scenario.talk, Queries("nlu-queries", 1, 0, 1), 1, hears_answers=True)
    return Device(
        "g1",
        "w1",
        scenario,
        partial(timeline, scenario, 0, 1),
        wearer,
        past=past or Past(),
        clock=Clock(START_NS, drift_ppm),
        seed=1,
    )


def test_numbers_have_no_hole_and_times_do_not_run_backwards(played: Path) -> None:
    for name in ("g1", "g2"):
        streams = by_stream(batches(played / f"{name}.jsonl"))
        assert streams.keys() == STREAMS
        for found in streams.values():
            assert [batch.run.first for batch in found] == [0, *(batch.run.last + 1 for batch in found)][:-1]
            times = [batch.time_ns(i) for batch in found for i in range(batch.run.count)]
            assert times == sorted(times)
    assert sum(batch.run.count for batch in streams["imu-right"]) == 6000


def test_values_decode_and_encode_to_the_same_bytes(played: Path) -> None:
    for sent in journal.sent(played / "g1.jsonl"):
        batch = build.CODEC.decode(sent.value, 0)
        assert codec.encode(batch) == sent.value


def test_headers_name_the_batch_and_stay_few(played: Path) -> None:
    for sent in journal.sent(played / "g2.jsonl"):
        found = dict(sent.headers)
        assert len(sent.headers) == len(found) <= limits.HEADERS_MAX
        batch = build.CODEC.decode(sent.value, 0)
        assert found["ce_id"].decode() == sent.id == batch.first_id == f"g2/{sent.stream}/{sent.first}"
        assert found["sightline-run"].decode() == f"{sent.first} 1 {sent.count}"
        assert found.keys().isdisjoint({"sightline-zone", "sightline-label", "sightline-parents"})
        assert (sent.key, sent.timestamp_ms) == (b"g2", batch.t0_ns // 1_000_000)


def test_one_seed_gives_equal_bytes_and_another_gives_other_queries(played: Path, tmp_path: Path) -> None:
    play(tmp_path / "same")
    play(tmp_path / "other", seed=8)
    for name in ("g1.jsonl", "g2.jsonl"):
        assert (tmp_path / "same" / name).read_bytes() == (played / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (played / name).read_bytes()


def test_truth_covers_every_event_once(played: Path) -> None:
    for name in ("g1.jsonl", "g2.jsonl"):
        events = [(batch.stream, number) for batch in batches(played / name) for number in batch.run]
        zones = truth(played / name)
        assert sorted(zones) == sorted(events)
        assert all(len(claims) == 1 for claims in zones.values())


def test_truth_is_what_the_story_means(played: Path) -> None:
    zones = truth(played / "g1.jsonl")
    for batch in batches(played / "g1.jsonl"):
        for i, number in enumerate(batch.run):
            t = (batch.time_ns(i) - START_NS) / 1e9
            in_session = t - 40 if t >= 40 else t
            strangers = 28.05 <= in_session < 34
            if batch.kind in {"device_state", "consent_change"}:
                expected = "device" if batch.kind == "device_state" else "rights"
            elif t < 2.07:
                expected = "unconfigured"
            elif strangers:
                expected = "bystander-present"
            elif batch.kind in {"voice_query", "feedback"}:
                expected = "voice-assistant"
            else:
                expected = "home-private" if in_session < 20.1 else "public"
            assert zones[batch.stream, number] == [expected], (batch.stream, number, t)


def test_a_batch_spans_a_boundary_and_says_where(played: Path) -> None:
    spanning = [batch for batch in batches(played / "g1.jsonl") if batch.changes]
    assert [(batch.stream, round((batch.t0_ns - START_NS) / 1e9, 1)) for batch in spanning] == [
        ("imu-right", 2.0),
        ("imu-right", 20.0),
        ("imu-right", 28.0),
    ]
    assert [[at for at, _ in batch.changes] for batch in spanning] == [[7], [10], [5]]
    assert [batch.run.count for batch in spanning] == [20, 20, 20]
    assert (spanning[0].consent, spanning[0].changes[0][1].consent) == (0, 1)
    assert (getattr(spanning[1].context, "place", None), spanning[1].changes[0][1].place) == (
        "home",
        "street",
    )


def test_device_states_frame_each_session(played: Path) -> None:
    found = [
        (batch.session_id, batch.columns["session"][0], (batch.t0_ns - START_NS) // 10**9)
        for batch in by_stream(batches(played / "g1.jsonl"))["device-state"]
    ]
    assert found == [
        ("s1", "started", 0),
        ("s1", "running", 10),
        ("s1", "running", 20),
        ("s1", "running", 30),
        ("s1", "ended", 40),
        ("s2", "started", 40),
        ("s2", "running", 50),
        ("s2", "ended", 60),
    ]
    assert batches(played / "g1.jsonl")[-1].columns == {
        "session": ["ended"],
        "battery_percent": [95],
        "thermal": ["cool"],
    }


def test_origin_names_the_recording_of_each_stream(played: Path) -> None:
    for name, imu in (("g1", "classyglass-user17"), ("g2", "classyglass-user22")):
        found = {
            stream: {batch.origin for batch in some}
            for stream, some in by_stream(batches(played / f"{name}.jsonl")).items()
        }
        assert found == {
            "imu-right": {f"playback:{imu}"},
            "location": {"playback:gps-visnjan"},
            "voice-query": {"playback:nlu-queries"},
            "feedback": {"playback:nlu-queries"},
            "device-state": {"synthetic:7"},
            "consent-change": {"synthetic:7"},
        }


def test_without_answers_the_wearer_states_the_intent_of_the_query(played: Path) -> None:
    streams = by_stream(batches(played / "g1.jsonl"))
    draw = Queries("nlu-queries", 7, 0, 2)
    asked = {f"g1/answer/{batch.run.first}": batch for batch in streams["voice-query"]}
    assert len(asked) == 28
    for batch in streams["feedback"]:
        target = batch.columns["target"][0]
        number = asked[target].run.first
        assert asked[target].columns["text"] == [draw.query(number)[0]]
        assert batch.columns == {
            "target": [target],
            "form": ["choice"],
            "thumb": [0],
            "chosen_intent": [draw.query(number)[1]],
            "text": [None],
            "rating": [None],
            "second_rating": [None],
        }
        assert batch.t0_ns - asked[target].t0_ns == SMOKE.talk.feedback_delay_ns
    assert len(streams["feedback"]) == 28


def run_periods(device: Device, count: int) -> list[Captured]:
    return [captured for _ in range(count) for captured in device.period()]


def test_an_answer_draws_a_thumb_and_overtaken_queries_are_given_up() -> None:
    device = make_device()
    run_periods(device, 40)  # queries 0, 1, 2 at 3, 5 and 7 s
    intents = [Queries("nlu-queries", 1, 0, 1).query(number)[1] for number in range(3)]
    device.wearer.answered(1, intents[1], device.elapsed_ns)
    device.wearer.answered(0, intents[0], device.elapsed_ns)  # overtaken by 1
    device.wearer.answered(2, "something_else", device.elapsed_ns + 5_000_000)
    device.wearer.answered(2, "something_else", device.elapsed_ns)  # twice
    feedback = [captured.batch for captured in run_periods(device, 10) if captured.batch.kind == "feedback"]
    assert [batch.columns for batch in feedback] == [
        {
            "target": ["g1/answer/1", "g1/answer/2"],
            "form": ["thumb", "thumb"],
            "thumb": [1, -1],
            "chosen_intent": intents[1:],
            "text": [None] * 2,
            "rating": [None] * 2,
            "second_rating": [None] * 2,
        }
    ]
    assert [feedback[0].time_ns(i) - START_NS for i in range(2)] == [9_000_000_000, 9_005_000_000]


@settings(max_examples=30, deadline=None)
@given(
    periods=st.integers(1, 450),
    answers=st.lists(st.tuples(st.integers(0, 449), st.integers(0, 3), st.integers(0, 10**9)), max_size=12),
    past=st.builds(
        Past,
        st.fixed_dictionaries({stream: st.integers(0, 10**6) for stream in STREAMS}),
        st.integers(1, 50),
        st.integers(0, 2 * START_NS),
    ),
)
def test_whatever_is_answered_when_numbers_and_truth_stay_whole(
    periods: int, answers: list[tuple[int, int, int]], past: Past
) -> None:
    device = make_device(past)
    out: list[Captured] = []
    asked: list[int] = []
    for period in range(periods):
        new = device.period()
        asked += [captured.batch.run.first for captured in new if captured.batch.kind == "voice_query"]
        out += new
        for at, back, late_ns in answers:
            if at == period and len(asked) > back:
                device.wearer.answered(asked[-1 - back], "weather_query", device.elapsed_ns + late_ns)
    out += [*device.feedback_period(), *device.end()]
    assert not device.end()
    assert out[-1].batch.columns["session"] == ["ended"]
    assert out[0].batch.columns["session"] == ["resumed"]
    for stream, found in by_stream([captured.batch for captured in out]).items():
        numbers = [number for batch in found for number in batch.run]
        assert numbers == list(range(past.next_numbers[stream], past.next_numbers[stream] + len(numbers)))
        times = [batch.time_ns(i) for batch in found for i in range(batch.run.count)]
        assert times == sorted(times)
        assert times[0] > past.last_capture_ns
    for captured in out:
        assert build.CODEC.decode(codec.encode(captured.batch), 0) == captured.batch
        assert [number for run, _ in captured.truth for number in run] == list(captured.batch.run)
        assert all(before != after for (_, before), (_, after) in pairwise(captured.truth))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("duration_s = 40.0", "duration_s = 40.1", "duration_s is 40.1, expected whole batch periods"),
        ("duration_s = 40.0", "", "field 'duration_s' is missing"),
        ("duration_s = 40.0", "duration_s = ", "the file is not TOML"),
        ('place = "street"', 'place = "moon"', "segment.context.place is 'moon'"),
        ('sessions = "later"', 'sessions = "never"', "sessions is 'never'"),
        ("from_s = 2.07", "from_s = 42.07", "must begin at 0, increase and stay below"),
        ('device_state = "device"', 'gaze = "device"', "truth names a kind that the scenario has not"),
        (
            'recordings = ["gps-visnjan"]',
            "",
            "stream location: expected either recordings, or one sensor of sound",
        ),
        (
            "consent = 1, status",
            "kind = 1, status",
            "event at 2.0 s: columns must be those of consent_change",
        ),
        ("forms = { thumb = 1 }", "forms = { smile = 1 }", "feedback.forms must give whole weights"),
        ('name = "location"', 'name = "imu-right"', "stream.name stands twice"),
        ('kind = "imu"', 'kind = "imu"\nrate_hz = 0', "rate_hz must be a whole number from 1 to 4000"),
        ('kind = "imu"', 'kind = "imu"\nrate_hz = 50.5', "rate_hz must be a whole number from 1 to 4000"),
        ('kind = "imu"', 'kind = "imu"\nrate_hz = 5000', "rate_hz must be a whole number from 1 to 4000"),
        ('kind = "imu"', 'kind = "gaze"\nrate_hz = 400', "a recording of nothing but numbers"),
    ],
)
def test_a_wrong_scenario_is_a_sentence(old: str, new: str, message: str) -> None:
    text = (scenarios.HERE / "smoke.toml").read_text("utf-8")
    assert old in text
    with pytest.raises(InputError, match=message):
        scenarios.parse("smoke", text.replace(old, new))


def test_every_scenario_can_be_played_and_truth_covers_it() -> None:
    kinds = set()
    for name in scenarios.names():
        scenario = scenarios.load(name)
        device = make_device(scenario=scenario)
        out = run_periods(device, scenario.duration_ns // PERIOD_NS + 1)
        found = {captured.batch.kind for captured in out}
        assert found | {"feedback"} == set(scenario.kinds)
        kinds |= found | {"feedback"}
        for captured in out:
            assert build.CODEC.decode(codec.encode(captured.batch), 0) == captured.batch
            assert [number for run, _ in captured.truth for number in run] == list(captured.batch.run)
    # Reviews are what people say elsewhere (`sightline review`).
    assert kinds == {kind.name for kind in SHIPPED.values() if kind.captured} - {"review"}


def test_batches_are_longer_when_the_device_is_warm() -> None:
    device = make_device(scenario=scenarios.load("commute"))
    out = [captured.batch for captured in run_periods(device, 2400) if captured.batch.stream == "imu-right"]
    warm_ns = range(START_NS + 350_200_000_000, START_NS + 470_000_000_000)
    assert (
        {batch.run.count for batch in out if batch.t0_ns in warm_ns} == {20 * THERMAL_PERIODS["warm"]} == {40}
    )
    assert {batch.run.count for batch in out if batch.t0_ns < warm_ns.start - 200_000_000} == {20}


def test_a_clock_that_drifts_stretches_the_time_between_batches_and_never_runs_back() -> None:
    for ppm in (-40, 40):
        found = by_stream([captured.batch for captured in run_periods(make_device(drift_ppm=ppm), 150)])[
            "imu-right"
        ]
        assert found[-1].t0_ns - START_NS == 149 * PERIOD_NS + 149 * PERIOD_NS * ppm // 1_000_000
        times = [batch.time_ns(i) for batch in found for i in range(batch.run.count)]
        assert times == sorted(set(times))


def test_what_is_on_only_for_a_while_samples_only_then() -> None:
    device = make_device(scenario=scenarios.load("commute"))
    frames = [
        captured.batch for captured in run_periods(device, 2000) if captured.batch.kind == "camera_frame"
    ]
    times_s = [(batch.time_ns(i) - START_NS) / 1e9 for batch in frames for i in range(batch.run.count)]
    assert 352.0 <= min(times_s) < 352.2
    assert 371.8 < max(times_s) < 372.0


def test_an_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(
        InputError,
        match="'party' does not exist; expected one of: commute, family, glasses, hike, load, office, smoke",
    ):
        scenarios.load("party")


def test_a_consent_is_named_only_after_the_change_that_records_it() -> None:
    for name in scenarios.names():
        device = make_device(scenario=scenarios.load(name))
        recorded = {0}
        for one in run_periods(device, 30):
            batch = one.batch
            if batch.kind == "consent_change":
                recorded |= set(batch.columns["consent"])
            named = {context.consent for _, _, context in batch.spans() if context is not None}
            assert named <= recorded, (name, batch.first_id)
        assert recorded == {0, 1}


@pytest.mark.parametrize(
    ("said", "named", "zones"),
    [
        (OwnConsent(3, ("ai:ModelTraining",)), 3, {"device", "home-private"}),
        (OwnConsent(3), 0, {""}),
    ],
)
def test_a_device_names_what_was_given_last_and_nothing_after_a_withdrawal(
    said: OwnConsent, named: int, zones: set[str]
) -> None:
    device = make_device(Past(sessions=1, consents={"w1": said, "w2": OwnConsent(9, ("ai:ModelTraining",))}))
    out = run_periods(device, 12)
    assert {one.batch.consent for one in out} == {named}
    assert "consent_change" not in {one.batch.kind for one in out}, "it was said before"
    assert {zone for one in out for _, zone in one.truth} == zones


def test_whoever_said_nothing_yet_is_asked_in_the_next_session_too() -> None:
    out = run_periods(make_device(Past({"device-state": 7}, sessions=4)), 20)
    changes = [one.batch for one in out if one.batch.kind == "consent_change"]
    assert [batch.columns["consent"] for batch in changes] == [[1]]
    assert {one.batch.session_id for one in out} == {"s5"}
    assert [one.batch.consent for one in out if one.batch.kind == "voice_query"] == [1]


def test_a_new_incarnation_counts_anew_under_names_of_its_own() -> None:
    device = make_device()
    device.begin_incarnation(2)
    out = [one.batch for one in run_periods(device, 40)]
    assert {batch.stream for batch in out} == {f"{stream}~2" for stream in STREAMS - {"feedback"}}
    assert all(found[0].run.first == 0 for found in by_stream(out).values())
    asked = [batch.run.first for batch in out if batch.kind == "voice_query"]
    device.wearer.answered(asked[0], "weather_query", device.elapsed_ns)
    feedback = [one.batch for one in run_periods(device, 10) if one.batch.kind == "feedback"]
    assert [batch.columns["target"] for batch in feedback] == [["g1/answer~2/0"]]
    assert feedback[0].stream == "feedback~2"
