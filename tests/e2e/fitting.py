"""A model that a test fits itself, from copies of examples that it made before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.models.intent import fit
from streams.training.lesson import Lesson
from streams.training.seed import licensed


def digest_of(lesson: Sequence[dict[str, Any]]) -> str:
    """Digest of a model that is fitted here on the seed and copies of examples."""

    def column(name: str) -> list[Any]:
        return [copy["columns"][name][0] for copy in lesson]

    nobody = Lesson.of_nobody(licensed().seed.pairs)
    whole = Lesson(
        [*nobody.pairs, *zip(column("utterance"), column("intent"), strict=True)],
        [*nobody.wearers, *(copy["wearer_id"] for copy in lesson)],
        [*nobody.devices, *(copy["device_id"] for copy in lesson)],
        [*nobody.agreements, *(1.0 if share is None else share for share in column("agreement"))],
    )
    return fit(whole.pairs, whole.weights).digest
