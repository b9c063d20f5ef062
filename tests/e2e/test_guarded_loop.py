"""The guarded loop on a real Kafka: it learns, declines, goes back when feedback turns, and is held."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from device_sim.draw import draw, utterances
from device_sim.glasses import Glasses
from streams.cli.main import main as sightline
from streams.events.batch import Context
from streams.policy.source import POLICIES, bundle
from streams.queries.store import Store
from tests.e2e.staying import followed
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka
WEARERS = 8
STREET = Context("street", "nobody", minor_near=False, capture_light=False, worn=True, consent=0)
PURPOSES = ("dpv:RequestedServiceProvision", "dpv:ServicePersonalisation", "ai:ModelTraining")
DRAWN = draw(1, utterances())
#: Feedback turns against what was known of the answers: so many are judged before.
HONEST_ROUNDS = 12
#: More rounds than any scene needs: what happens when depends on how fast the machine is.
ROUNDS_MAX = 60


@pytest.fixture(scope="module")
def installed(own_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a broker with a worker under `household`, and a directory with a store that follows it."""
    pairs = [(f"p{i}", f"w{i}") for i in range(WEARERS)]
    with followed(own_broker, tmp_path_factory.mktemp("loop"), pairs) as places:
        yield places


class Household:
    """WEARERS wearers who ask in turns and say of each answer what was meant, or the opposite."""

    def __init__(self, broker: str, path: Path) -> None:
        self._broker, self._path = broker, path
        self._queries = iter(random.Random(5).sample(list(DRAWN.queries), len(DRAWN.queries)))
        self.rounds = 0
        self._heard: dict[tuple[str, int], asyncio.Future[str]] = {}
        self.glasses: dict[str, Glasses] = {}

    async def __aenter__(self) -> Household:
        self._stack = AsyncExitStack()
        for i in range(WEARERS):
            device = f"p{i}"
            glasses = Glasses(
                self._broker,
                device,
                f"w{i}",
                self._path / "journal",
                context=STREET,
                on_answer=functools.partial(self._answered, device),
            )
            self.glasses[device] = await self._stack.enter_async_context(glasses)
            await glasses.give(*PURPOSES)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def _answered(self, device: str, number: int, intent: str) -> None:
        future = self._heard.get((device, number))
        if future is not None and not future.done():
            future.set_result(intent)

    async def round(self, *, lies: bool) -> None:
        """Each wearer asks once and gives feedback."""
        number, self.rounds = self.rounds, self.rounds + 1
        await asyncio.gather(
            *(self._talk(device, number, *next(self._queries), lies=lies) for device in self.glasses)
        )

    async def _talk(self, device: str, number: int, text: str, meant: str, *, lies: bool) -> None:
        glasses = self.glasses[device]
        heard = self._heard[device, number] = asyncio.get_running_loop().create_future()
        await glasses.send("voice_query", {"trigger": ["button"], "language": ["en"], "text": [text]})
        intent = await asyncio.wait_for(heard, PATIENCE_S)
        if lies:
            meant = random.Random(f"{device}/{number}").choice(sorted({i for _, i in DRAWN.seed} - {intent}))
        columns: dict[str, list[Any]] = {
            "target": [f"{device}/answer/{number}"],
            "form": ["thumb"],
            "thumb": [1 if meant == intent else -1],
            "chosen_intent": [meant],
            "text": [None],
            "rating": [None],
            "second_rating": [None],
        }
        await glasses.send("feedback", columns)
        await glasses.flush()


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with Store.open(path / "store") as store:
        return list(store.sql(statement).rows)


def read_by_training(path: Path, rounds: int) -> bool:
    """Whether training has read the examples of so many rounds, and the store knows it."""
    orders = "SELECT sum(len(string_split(value, ' '))) FROM inputs WHERE kind = 'example-order'"
    return (rows(path, orders)[0][0] or 0) >= WEARERS * rounds


async def live(household: Household, path: Path, seen: Callable[[], bool], *, lies: bool) -> int:
    """Let them live until something is seen in the store; return the number of rounds.

    Training has learned from each round before the next, as it has where people take their time.
    """
    for number in range(1, ROUNDS_MAX + 1):
        await household.round(lies=lies)
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(read_by_training, path, household.rounds):
                await asyncio.sleep(0.1)
        if await asyncio.to_thread(seen):
            return number
    raise AssertionError(f"it was not seen in {ROUNDS_MAX} rounds")


def published(path: Path, broker: str, **bounds: int) -> None:
    policy = path / "mine.toml"
    table = "\n".join(f"{name} = {value}" for name, value in bounds.items())
    policy.write_text(f"{bundle(POLICIES / 'household.toml')}\n[training]\n{table}\n", encoding="utf-8")
    result = CliRunner().invoke(sightline, ["policy", "publish", str(policy), "--broker", broker])
    assert result.exit_code == 0, result.output


def walked(promotions: Sequence[tuple[str, int, int]]) -> None:
    """Each version is compared with the one that serves, and nothing goes back to what was gone back from."""
    line = [0]
    for outcome, version, against in promotions:
        assert against == line[-1], f"{promotions}: {outcome} {version} against {against}, {line} served"
        if outcome == "promoted":
            line.append(version)
        elif outcome == "rolled-back":
            assert version in line[1:-1], f"{promotions}: {outcome} {version}, {line} served"
            del line[line.index(version) + 1 :]


async def test_it_learns_goes_back_when_feedback_turns_and_is_held(installed: tuple[str, Path]) -> None:
    broker, path = installed

    def promoted() -> bool:
        return bool(rows(path, "SELECT 1 FROM promotions WHERE outcome = 'promoted' AND version > 1"))

    def back() -> list[tuple[Any, ...]]:
        where = "WHERE outcome = 'rolled-back' ORDER BY t_ns"
        return rows(path, f"SELECT version, against, reason FROM promotions {where}")

    def declined() -> list[tuple[Any, ...]]:
        # Others may have been declined before it went back.
        since = "(SELECT min(t_ns) FROM promotions WHERE outcome = 'rolled-back')"
        where = f"WHERE outcome = 'declined' AND t_ns > {since} ORDER BY version"
        return rows(path, f"SELECT version, against, reason FROM promotions {where}")

    def held() -> list[tuple[Any, ...]]:
        return rows(path, "SELECT reason FROM rejected WHERE rule = 'run-held'")

    async with Household(broker, path) as household:
        learned = await live(household, path, promoted, lies=False)
        await live(household, path, lambda: household.rounds >= HONEST_ROUNDS, lies=False)
        turned = await live(household, path, lambda: bool(back()), lies=True)
        await asyncio.to_thread(published, path, broker, language_percent_max=50, examples_min=12)
        stopped = await live(household, path, lambda: bool(held()), lies=False)
        await asyncio.to_thread(published, path, broker, examples_min=12)
        worse = await live(household, path, lambda: bool(declined()), lies=True)
    (version, against, reason), *_ = back()
    assert version < against
    assert reason.startswith("feedback turned: ")
    walked(rows(path, "SELECT outcome, version, against FROM promotions ORDER BY t_ns"))
    assert "are of one language (en): 100 %, expected at most 50 %" in held()[0][0]
    since = "(SELECT min(t_ns) FROM promotions WHERE outcome = 'rolled-back')"
    taken = f"SELECT value FROM inputs WHERE kind = 'model-takeup' AND agent = 'glasses' AND t_ns >= {since}"
    served = (str(version),) in rows(path, taken)
    assert served, "partitions took the earlier version up again"
    print(  # noqa: T201
        f"learned after {learned} rounds of {WEARERS}\n"
        f"went back after {turned} more: version {version} serves instead of {against}, {reason}\n"
        f"held after {stopped} more: {held()[0][0]}\n"
        f"declined after {worse} more, against version {declined()[0][1]}: {declined()[0][2]}"
    )
