"""A person reviews answers on a real Kafka: the queue, a look, a verdict, and what may not be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from device_sim.glasses import Glasses
from streams.cli.main import main as sightline
from streams.events.batch import Context
from tests.e2e.staying import followed, until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
STREET = Context("street", "nobody", minor_near=False, capture_light=False, worn=True, consent=0)
PURPOSES = (
    "dpv:RequestedServiceProvision",
    "dpv:ServicePersonalisation",
    "ai:ModelTraining",
    "dpv:ServiceOptimisation",
)
WORDS = "wake me at a quarter past seven"


@pytest.fixture(scope="module")
def installed(own_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a broker with a worker under `household`, and a directory with a store that follows it."""
    pairs = [("r1", "w1"), ("r2", "w2")]
    with followed(own_broker, tmp_path_factory.mktemp("review"), pairs) as places:
        yield places


def run(installed: tuple[str, Path], *words: str) -> Result:
    broker, path = installed
    return CliRunner().invoke(sightline, [*words, "--broker", broker, "--store", str(path / "store")])


def review(installed: tuple[str, Path], *words: str) -> dict[str, Any]:
    result = run(installed, "review", *words, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = orjson.loads(result.stdout)
    return answer


async def ask(installed: tuple[str, Path], device: str, wearer: str, *purposes: str) -> None:
    """One query, and two people who rate its answer as bad; what was meant, nobody says."""
    broker, path = installed
    heard = asyncio.Event()
    async with Glasses(
        broker,
        device,
        wearer,
        path / "journal",
        context=STREET,
        on_answer=lambda *_: heard.set(),
    ) as glasses:
        await glasses.give(*purposes)
        await glasses.send("voice_query", {"trigger": ["button"], "language": ["en"], "text": [WORDS]})
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
        columns: dict[str, list[Any]] = {
            "target": [f"{device}/answer/0"],
            "form": ["rating"],
            "thumb": [0],
            "chosen_intent": [None],
            "text": [None],
            "rating": [1],
            "second_rating": [1],
        }
        await glasses.send("feedback", columns)
        await glasses.flush()


def test_what_feedback_calls_wrong_is_reviewed_and_becomes_an_example(
    installed: tuple[str, Path],
) -> None:
    path = installed[1]
    asyncio.run(ask(installed, "r1", "w1", *PURPOSES))
    asyncio.run(ask(installed, "r2", "w2", *PURPOSES[:3]))
    listed = until(
        lambda: queue if len((queue := review(installed))["answers"]) == 1 and queue["kept_out"] else None
    )
    assert [(each["id"], each["why"], each["state"]) for each in listed["answers"]] == [
        ("r1/answer/0", "denied", "open")
    ]
    assert list(listed["kept_out"].values()) == [1], "w2 did not consent to it"
    assert "consent" in next(iter(listed["kept_out"]))
    refused = run(installed, "review", "r2/answer/0", "--unclear", "--json")
    assert refused.exit_code == 2
    assert "nobody may look at its query: " in refused.output
    assert "consent" in refused.output
    given = review(
        installed,
        "r1/answer/0",
        *("--meant", "alarm_set", "--reviewer", "rita"),
        *("--journal", str(path / "journal")),
    )
    assert (given["review"], given["example"]) == ("r1/review/0", "r1/example-review/0")
    words = (
        "ask",
        "ancestors",
        given["example"],
        "--store",
        str(path / "store"),
        "--role",
        "privacy-officer",
    )
    made = orjson.loads(CliRunner().invoke(sightline, [*words, "--json"]).stdout)
    assert {"r1/review/0", "r1/answer/0", "r1/voice-query/0"} <= {row["id"] for row in made["ancestors"]}
    (after,) = review(installed)["answers"]
    assert after["state"] == "reviewed"
    log = (path / "store" / "reads.jsonl").read_text(encoding="utf-8")
    (look,) = [line for line in map(orjson.loads, log.splitlines()) if line["role"] == "reviewer:rita"]
    assert look["question"] == "review r1/voice-query/0"
    assert WORDS not in log
    again = review(installed, "r1/answer/0", "--unclear", "--reviewer", "rita")
    assert (again["review"], again["example"]) == ("r1/review/1", "")
    assert "could not tell what was meant" in again["why_none"]


def test_without_a_terminal_no_words_are_shown_and_what_cannot_be_is_a_sentence(
    installed: tuple[str, Path],
) -> None:
    for words, sentence in (
        (("r1/answer/0",), "found no terminal, expected one: words are shown there alone"),
        (("r1/answer/99", "--unclear"), "found no answer to a query that is shown here"),
        (("nothing", "--unclear"), "event id: found another form"),
        (("r1/answer/0", "--unclear", "--meant", "alarm_set"), "found --meant and --unclear"),
        (("r1/answer/0", "--meant", "fly"), "expected an intent that the policy"),
        (("r1/answer/0", "--unclear", "--reviewer", "Rita!"), "reviewer"),
    ):
        result = run(installed, "review", *words)
        assert result.exit_code == 2, (words, result.output)
        assert sentence in result.output, (words, result.output)
        assert WORDS not in result.output


def test_what_was_withdrawn_or_has_expired_is_no_longer_looked_at(installed: tuple[str, Path]) -> None:
    broker, _ = installed
    withdrawn = CliRunner().invoke(sightline, ["consent", "withdraw", "--wearer", "w1", "--broker", broker])
    assert withdrawn.exit_code == 0, withdrawn.output
    refused = run(installed, "review", "r1/answer/0", "--unclear")
    assert refused.exit_code == 2
    assert "nobody may look at its query: " in refused.output
    assert "consent" in refused.output
    queue = review(installed)
    assert (queue["answers"], sum(queue["kept_out"].values())) == ([], 2)
