"""Prints the golden journal: `python -m tests.golden.story > tests/golden/journal/g1.jsonl`.

It is a small life of one device.
"""

from __future__ import annotations

import sys

from msgspec.structs import replace

from streams.events import journal
from streams.events.batch import Batch
from tests import build

SECOND_NS = 1_000_000_000


def life() -> list[tuple[int, Batch]]:
    """(send time in ns, batch) in the order of sending; IMU at 10 Hz to keep the file short."""
    steps: list[tuple[float, Batch]] = []
    for i in range(14):
        spread, place = (0.1, "home") if i < 6 else (1.2, "street")
        made = replace(
            build.imu(spread, i * 10, 10),
            t0_ns=build.T0_NS + i * SECOND_NS,
            dt_ns=SECOND_NS // 10,
            context=build.context(place=place),
        )
        if i == 0:
            made = replace(made, context=build.context(consent=0), changes=((4, build.context()),))
        if i == 5:
            made = replace(made, changes=((7, build.context(place="street")),))
        if i in (11, 12):
            made = replace(made, context=build.context(place="street", people_near="strangers"))
        steps.append((i + 1.0, made))
    for number, (at, text, intent, around) in enumerate(
        (
            (3.0, "wake me at seven", "alarm_set", {}),
            (5.0, "what is on my list", "lists_createoradd", {}),
            (9.0, "will it rain", "weather_query", {"place": "street"}),
            (12.5, "play some jazz", "play_music", {"place": "street", "people_near": "strangers"}),
        )
    ):
        t = build.T0_NS + int(at * SECOND_NS)
        steps.append((at + 0.2, build.query(number, text, t, **around)))
        steps.append(
            (at + 1.2, build.feedback(number, f"g1/answer/{number}", intent, t + SECOND_NS, **around))
        )
    steps.append((0.4, build.gives(1, 0, build.T0_NS + SECOND_NS * 4 // 10, consent=0)))
    steps.append((14.0, build.feedback(4, "g1/answer/99", "alarm_set", build.T0_NS + 14 * SECOND_NS)))
    steps.append((15.0, build.ended(0, build.T0_NS + 15 * SECOND_NS)))
    steps.sort(key=lambda step: step[0])
    again = [step for step in steps if step[1].first_id == "g1/imu-right/20"]
    return [(build.T0_NS + int(at * SECOND_NS), made) for at, made in [*steps[:6], *again, *steps[6:]]]


def main() -> None:
    """Write the journal to stdout."""
    for sent_ns, made in life():
        record = build.record(made, 0)
        sys.stdout.buffer.write(
            journal.sent_line(
                journal.Sent(
                    made.first_id,
                    record.key or b"",
                    record.value or b"",
                    tuple(record.headers),
                    record.timestamp,
                    sent_ns,
                    made.stream,
                    made.run.first,
                    made.run.count,
                )
            )
        )


if __name__ == "__main__":
    main()
