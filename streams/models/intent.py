"""The intent model: hashed character n-grams (`grams`) and a multinomial logistic regression (scikit-learn).

Fitting is deterministic: the problem is convex, the solver single-threaded, the order of examples fixed.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import Struct, ValidationError, convert
from numpy.typing import NDArray

from streams.errors import MalformedError
from streams.events.digest import digest
from streams.events.intents import INTENT
from streams.limits import INTENTS_MAX, MODEL_FEATURES
from streams.models.grams import Grams, grams

INTENTS_MIN = 3  #: with fewer, a regression has weights of another shape
INVERSE_REGULARISATION = 20.0
ITERATIONS_MAX = 300


class _Fields(Struct, frozen=True, forbid_unknown_fields=True):
    intents: tuple[str, ...]
    features: int
    weights: str
    bias: str
    digest: str


@dataclass(frozen=True, eq=False)
class IntentModel:
    """Weights (intents, MODEL_FEATURES) and bias (intents,), both float32, and the intents in that order."""

    intents: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, utterances: Sequence[str], made: Grams | None = None) -> list[tuple[str, float]]:
        """(intent, confidence 0 ... 1) of each utterance; confidence is the softmax probability.

        `made` are the n-grams of the utterances, if they have been made already.
        """
        if not utterances:
            return []
        scores = (grams(utterances) if made is None else made).times(self.weights) + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        chances /= chances.sum(axis=1, keepdims=True)
        best = chances.argmax(axis=1)
        return [(self.intents[i], round(float(chances[row, i]), 4)) for row, i in enumerate(best)]

    def accuracy(self, examples: Sequence[tuple[str, str]]) -> float:
        """Share of (utterance, intent) pairs that it predicts correctly, 0 ... 1."""
        return sum(self.right(examples)) / len(examples)

    def right(self, examples: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (utterance, intent) pair, whether it predicts the intent."""
        predicted = self.predict([utterance for utterance, _ in examples])
        return [guess == intent for (guess, _), (_, intent) in zip(predicted, examples, strict=True)]

    @property
    def digest(self) -> str:
        """XXH3-128 over intents, weights and bias, hex: equal models have equal digests."""
        return digest("\n".join(self.intents).encode() + b"\0" + self.weights.tobytes() + self.bias.tobytes())

    def dump(self) -> dict[str, Any]:
        """Fields that JSON can encode; arrays are little-endian float32 in base64."""
        return {
            "intents": list(self.intents),
            "features": MODEL_FEATURES,
            "weights": b64encode(self.weights.tobytes()).decode(),
            "bias": b64encode(self.bias.tobytes()).decode(),
            "digest": self.digest,
        }

    @classmethod
    def load(cls, fields: Mapping[str, Any]) -> IntentModel:
        """Model from the fields that `dump` returns.

        MalformedError if intents, shapes or digest do not agree, or if a weight is not finite.
        """
        try:
            parts = convert(fields, _Fields)
            intents = parts.intents
            weights = _floats(parts.weights).reshape(len(intents), MODEL_FEATURES)
            bias = _floats(parts.bias).reshape(len(intents))
        except (ValidationError, ValueError) as error:
            raise MalformedError(
                f"model: {type(error).__name__} in its weights, expected intents, weights and bias that agree"
            ) from None
        if parts.features != MODEL_FEATURES or not INTENTS_MIN <= len(intents) <= INTENTS_MAX:
            raise MalformedError(
                f"model: found {len(intents)} intents or other features, expected {INTENTS_MIN} to "
                f"{INTENTS_MAX} and {MODEL_FEATURES}"
            )
        if list(intents) != sorted(set(intents)) or not all(map(INTENT.fullmatch, intents)):
            raise MalformedError("model: found other intents, expected names in their order, each once")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise MalformedError("model: found a weight that is no finite number, expected finite ones only")
        model = cls(intents, weights, bias)
        if model.digest != parts.digest:
            raise MalformedError(
                "model: the digest is not that of its weights, expected an untouched version"
            )
        return model


def _floats(text: str) -> NDArray[np.float32]:
    return np.frombuffer(b64decode(text, validate=True), dtype="<f4")


def fit(examples: Sequence[tuple[str, str]], weights: Sequence[float] = ()) -> IntentModel:
    """Fit on (utterance, intent) pairs of at least INTENTS_MIN intents.

    The same pairs with the same weights in the same order give the same bytes. `weights` are how much each
    pair counts; without any, all count alike.

    Every intent has the same weight, however many examples it has (scikit-learn's "balanced"), because the
    seed has many examples of feedback, and households add none.
    """
    # scikit-learn (extra `worker`) takes 80 MB and is only needed to fit; versions are read without it.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    regression = LogisticRegression(
        C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=ITERATIONS_MAX, random_state=0
    )
    asked = grams([utterance for utterance, _ in examples]).matrix()
    # BLAS would use every core. On busy cores its threads wait for each other, and a fit takes 2 s instead of
    # 75 ms. The weights must not depend on how sums are split among threads either.
    with threadpool_limits(1):
        regression.fit(asked, [intent for _, intent in examples], list(weights) or None)
    return IntentModel(
        tuple(str(intent) for intent in regression.classes_),
        regression.coef_.astype("<f4"),
        regression.intercept_.astype("<f4"),
    )
