"""Ratings of answers by two people each, from FeedbackQA.

These are only the two numbers, no questions, answers or explanations.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from device_sim.recordings.make.writing import HERE, copy_licence, write_text

#: The raters' words, from the worst; a rating is the place of its word, from 1.
WORDS = ("Bad", "Could be Improved", "Acceptable", "Excellent")


def write(data: Path) -> None:
    """Write every answer's two ratings in the order of the data, and the licence."""
    lines = (data / "feedback" / "feedbackqa_ratings.jsonl").read_bytes().splitlines()
    rows = [[WORDS.index(word) + 1 for word in orjson.loads(line)["ratings"]] for line in lines]
    write_text(HERE / "ratings.csv", ("rating", "second_rating"), rows)
    copy_licence(data / "feedback" / "LICENSE", "LICENSE-feedbackqa-Apache-2.0.txt")
