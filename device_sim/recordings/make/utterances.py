"""What is said, drawn from NLU-Evaluation-Data into files that share no utterance.

The files are queries, feedback, seed and evaluation.
"""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path

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
FEEDBACK = ("general_praise", "general_negate", "general_repeat", "general_commandstop")
#: The draw is chosen, not blind: of a dozen, one whose queries leave the loop enough to learn. It was chosen
#: when there was no feedback yet, and kept (NOTICE).
DRAW = "sightline-6"
QUERIES_PER_TASK = 50
#: (seed, evaluation) rows an intent. A household's own words never come as examples of feedback, so its seed
#: is larger.
PER_TASK, PER_FEEDBACK = (2, 50), (16, 25)
_RUDE = re.compile(
    r"fuck|shit|bitch|\bass\b|asshole|damn|dammit|idiot|stupid|suck|\bhell\b|\bsex", re.IGNORECASE
)
_NAMED = re.compile(r"[<@]")


def write(data: Path) -> None:
    """Write queries and spoken feedback into our recordings, seed and evaluation into streams/training."""
    for path, rows in _split(data / "voice_queries" / "utterances.csv"):
        write_text(path, ("utterance", "intent"), rows)
    copy_licence(data / "voice_queries" / "LICENSE", "LICENSE-nlu-evaluation-data-CC-BY-4.0.txt")


def normalised(utterance: str) -> str:
    """Lower case, spaces collapsed."""
    return " ".join(utterance.lower().split())


def _split(path: Path) -> list[tuple[Path, list[Row]]]:
    """Draw the four disjoint files. Of feedback, all that is left after seed and evaluation can be played."""
    seed, evaluation, queries, spoken = list[Row](), list[Row](), list[Row](), list[Row]()
    for intent, texts in _by_intent(path).items():
        random.Random(f"{DRAW}/{intent}").shuffle(texts)  # noqa: S311  a fixed draw, no secret
        rows = [(text, intent) for text in texts]
        played, limit = (queries, QUERIES_PER_TASK) if intent in TASKS else (spoken, len(rows))
        learned, measured = PER_TASK if intent in TASKS else PER_FEEDBACK
        seed += rows[:learned]
        evaluation += rows[learned : learned + measured]
        played += rows[learned + measured :][:limit]
    return [
        (TRAINING / "seed.csv", seed),
        (TRAINING / "evaluation.csv", evaluation),
        (HERE / "queries.csv", queries),
        (HERE / "spoken-feedback.csv", spoken),
    ]


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
