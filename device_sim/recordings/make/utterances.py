"""What is said, from NLU-Evaluation-Data: all utterances, and the first blind draw as separate files.

The files of the draw are queries, feedback, seed and validation; what it keeps for the test is in no file of
its own, so that nothing but `sightline evaluate` reads it.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from device_sim.draw import DRAWS, FEEDBACK, draw
from device_sim.recordings.make.writing import HERE, TRAINING, copy_licence, write_text

Row = tuple[str, str]
TASKS = (
    "alarm_query",
    "alarm_set",
    "calendar_query",
    "calendar_remove",
    "calendar_set",
    "datetime_query",
    "iot_hue_lightoff",
    "lists_createoradd",
    "music_query",
    "play_music",
    "transport_taxi",
    "weather_query",
)
_RUDE = re.compile(
    r"fuck|shit|bitch|\bass\b|asshole|damn|dammit|idiot|stupid|suck|\bhell\b|\bsex", re.IGNORECASE
)
_NAMED = re.compile(r"[<@]")


def write(data: Path) -> None:
    """Write all utterances and what is played into our recordings, the rest into streams/training."""
    by_intent = _by_intent(data / "voice_queries" / "utterances.csv")
    pairs = [(text, intent) for intent, texts in by_intent.items() for text in texts]
    drawn = draw(DRAWS[0], pairs)
    for path, rows in (
        (HERE / "utterances.csv", pairs),
        (TRAINING / "seed.csv", drawn.seed),
        (TRAINING / "validation.csv", drawn.validation),
        (HERE / "queries.csv", drawn.queries),
        (HERE / "spoken-feedback.csv", drawn.spoken),
    ):
        write_text(path, ("utterance", "intent"), rows)
    copy_licence(data / "voice_queries" / "LICENSE", "LICENSE-nlu-evaluation-data-CC-BY-4.0.txt")


def normalised(utterance: str) -> str:
    """Lower case, spaces collapsed."""
    return " ".join(utterance.lower().split())


def _by_intent(path: Path) -> dict[str, list[str]]:
    """Utterances of each intent, sorted.

    Those that differ only in case, spaces or punctuation are one, and have one intent.
    """
    by_key: dict[str, set[Row]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            intent = f"{row['scenario']}_{row['intent']}"
            text = normalised(row["utterance"])
            if intent in (*TASKS, *FEEDBACK) and text and not _NAMED.search(text) and not _RUDE.search(text):
                by_key.setdefault(re.sub(r"[^a-z0-9]", "", text), set()).add((text, intent))
    by_intent: dict[str, list[str]] = {intent: [] for intent in (*TASKS, *FEEDBACK)}
    for _, alike in sorted(by_key.items()):
        if len({intent for _, intent in alike}) == 1:
            text, intent = min(alike)
            by_intent[intent].append(text)
    return by_intent
