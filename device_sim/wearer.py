"""The simulated wearer: which queries are asked, in which order, and the feedback on answers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from device_sim import draw, recordings
from device_sim.scenarios import Talk
from streams.events.identity import format_id

OPEN_QUERIES_MAX = 64  #: a query gets no feedback after this many later ones
NOTICES_LOOKED_AT = 0.75  #: share of the notices that wearers look at
CONSENT_AGAIN_NS = 5_000_000_000  #: from a changed notice that was looked at until consent is given again
ACCEPTABLE = 3  #: of ratings from 1 (bad) to 4 (excellent)
_DENIALS = {"general_negate": 3, "general_repeat": 1, "general_commandstop": 1}


class Queries:
    """Utterances in a random order by the seed, divided among `devices` devices to avoid early repetition.

    Every round has one utterance of each intent, in random order. With `pairs`, (utterance, intent), these
    are asked instead of those of the recording.
    """

    def __init__(
        self, name: str, seed: int, device: int, devices: int, pairs: Sequence[draw.Pair] | None = None
    ) -> None:
        self.origin = recordings.named(name, "voice_query").origin
        self._device, self._devices = device, devices
        chance = random.Random(seed)  # noqa: S311  a reproducible order, no secret
        by_intent = _by_intent(name) if pairs is None else draw.by_intent(pairs)
        for utterances in by_intent.values():
            chance.shuffle(utterances)
        self._order: list[tuple[str, str]] = []
        for i in range(max(map(len, by_intent.values()))):
            turn = [
                (utterances[i], intent) for intent, utterances in by_intent.items() if i < len(utterances)
            ]
            chance.shuffle(turn)
            self._order.extend(turn)
        self._intents = dict(self._order)

    def query(self, number: int) -> tuple[str, str]:
        """(utterance, annotated intent) for the device's query `number`."""
        return self._order[(number * self._devices + self._device) % len(self._order)]

    def others(self, intent: str) -> Sequence[str]:
        """All intents but one, by name."""
        return sorted({*self._intents.values()} - {intent})

    def intent(self, utterance: str) -> str | None:
        """Annotated intent of an utterance, possibly from a run with another seed; None if it is unknown."""
        return self._intents.get(utterance)


def _by_intent(name: str) -> Mapping[str, list[str]]:
    return draw.by_intent((row["utterance"], row["intent"]) for row in recordings.rows(name))


@dataclass(frozen=True, slots=True)
class Reaction:
    """Feedback that is due at `due_ns` since the device's start: one value per column, and its origin."""

    due_ns: int
    origin: str
    columns: Mapping[str, Any]


class Wearer:
    """The wearer, who asks queries and reacts to answers.

    The form of a reaction is drawn from the seed and the query's number, so it is the same after a restart.

    Parameters
    ----------
    device
        Name of the device.
    talk
        How the scenario's wearer talks.
    queries
        The queries to ask.
    seed
        Seed for the form of reactions.
    hears_answers
        False: there are no answers, so the wearer states the intent a fixed time after each query.
    spoken
        (utterance, intent) of spoken feedback, instead of those of the scenario's recording.
    lies
        Whether the wearer says the opposite: a right answer is called wrong, and meant to be another intent;
        a wrong answer is called right.
    """

    def __init__(
        self,
        device: str,
        talk: Talk,
        queries: Queries,
        seed: int,
        *,
        hears_answers: bool,
        spoken: Sequence[draw.Pair] | None = None,
        lies: bool = False,
    ) -> None:
        self._lies = lies
        self._device, self._talk, self._queries, self._seed = device, talk, queries, seed
        self._hears_answers = hears_answers
        self._spoken = _by_intent(talk.spoken_recording) if spoken is None else draw.by_intent(spoken)
        self._spoken_origin = recordings.named(talk.spoken_recording, "feedback").origin
        ratings = [
            (int(row["rating"]), int(row["second_rating"])) for row in recordings.rows(talk.rating_recording)
        ]
        self._rated = {
            good: [pair for pair in ratings if (pair[0] >= ACCEPTABLE) is good] for good in (True, False)
        }
        self._rating_origin = recordings.named(talk.rating_recording, "feedback").origin
        self.answers = "answer"  #: name of the stream of answers to the device's queries
        self._open: dict[int, str] = {}
        self._reactions: list[Reaction] = []

    @property
    def waits(self) -> bool:
        """Whether an answer or a reaction is still expected."""
        return bool(self._open or self._reactions)

    def ask(self, number: int, t_ns: int) -> tuple[str, str]:
        """(utterance, origin) of query `number`, asked at `t_ns`; its answer is expected from now on."""
        utterance, intent = self._queries.query(number)
        if self._hears_answers:
            self._expect(number, intent)
        else:
            self._react(
                t_ns + self._talk.feedback_delay_ns,
                number,
                self._queries.origin,
                form="choice",
                chosen_intent=intent,
            )
        return utterance, self._queries.origin

    def asked(self, number: int, utterance: str) -> None:
        """Expect an answer to a query of an earlier run that reaches the broker only now."""
        intent = self._queries.intent(utterance)
        if intent is not None and self._hears_answers:
            self._expect(number, intent)

    def answered(self, number: int, intent: str, heard_ns: int) -> None:
        """Receive the answer to query `number`; the reaction follows after a delay.

        Answers arrive in the order of the queries, so earlier queries without one were refused and get no
        reaction.
        """
        annotated = self._open.get(number)
        if annotated is None:
            return
        self._open = {n: i for n, i in self._open.items() if n > number}
        right = intent == annotated
        chance = random.Random(f"reaction/{self._seed}/{self._device}/{number}")  # noqa: S311  reproducible, no secret
        if self._lies:
            annotated = chance.choice(self._queries.others(intent)) if right else intent
            right = not right
        form = chance.choices(list(self._talk.forms), list(self._talk.forms.values()))[0]
        due_ns = heard_ns + self._talk.feedback_delay_ns
        if form == "spoken":
            meaning = (
                "general_praise" if right else chance.choices(list(_DENIALS), list(_DENIALS.values()))[0]
            )
            self._react(
                due_ns, number, self._spoken_origin, form=form, text=chance.choice(self._spoken[meaning])
            )
        elif form == "rating":
            first, second = chance.choice(self._rated[right])
            self._react(due_ns, number, self._rating_origin, form=form, rating=first, second_rating=second)
        else:
            self._react(
                due_ns,
                number,
                self._queries.origin,
                form=form,
                thumb=1 if right else -1,
                chosen_intent=annotated,
            )

    def looks_at(self, version: str) -> bool:
        """Whether the wearer looks at a notice that the device shows; the same one always or never."""
        chance = random.Random(f"notice/{self._seed}/{self._device}/{version}")  # noqa: S311  reproducible, no secret
        return chance.random() < NOTICES_LOOKED_AT

    def due(self, before_ns: int) -> Sequence[Reaction]:
        """Remove and return the reactions that are due before `before_ns`, in order."""
        due = sorted(
            (reaction for reaction in self._reactions if reaction.due_ns < before_ns),
            key=lambda reaction: reaction.due_ns,
        )
        self._reactions = [reaction for reaction in self._reactions if reaction.due_ns >= before_ns]
        return due

    def _expect(self, number: int, intent: str) -> None:
        self._open[number] = intent
        if len(self._open) > OPEN_QUERIES_MAX:
            del self._open[next(iter(self._open))]

    def _react(self, due_ns: int, number: int, origin: str, **given: Any) -> None:
        columns = {
            "target": format_id(self._device, self.answers, number),
            "form": "",
            "thumb": 0,
            "chosen_intent": None,
            "text": None,
            "rating": None,
            "second_rating": None,
            **given,
        }
        self._reactions.append(Reaction(due_ns, origin, columns))
