"""Another program opens real examples as the policy on the broker permits, and no longer than it does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from docs import make
from streams import clock, open_sealed
from streams.consent.record import withdrawal_record
from streams.errors import InputError
from streams.events.record import Outgoing, Received
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_all
from streams.kafka.topics import declare
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.versions import CURRENT_KEY, pointer_to, record_of
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.release import NotReleasedError
from streams.settings.kafka import Broker
from streams.topology import CONSENTS, EXAMPLES, POLICIES, TRAINING_RUN
from streams.worker.opening import SealedReader
from tests.patience import PATIENCE_S

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "open_sealed.py"
HOUSEHOLD = load("household")
NOT_FOR_TRAINING = "sinks.training-run: purpose ai:ModelTraining is not permitted"


def naming(principal: str) -> Policy:
    """The policy household, which gives keys for training to this principal."""
    before, sink, after = HOUSEHOLD.text.partition(f'name = "{TRAINING_RUN}"')
    return parse(f'{before}{sink}\nkeys_for = ["{principal}"]{after}', "a test")


def in_force(broker: Broker, policy: Policy) -> None:
    now_ms = clock.now_ns() // 1_000_000
    written = [
        Outgoing(POLICIES, 0, *record_of(policy), (), now_ms),
        Outgoing(POLICIES, 0, CURRENT_KEY, pointer_to(policy), (), now_ms),
    ]
    asyncio.run(publish_now(broker, written))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Outgoing]:
    """What the pipeline wrote to the topics of words and examples about a shipped recording, as of now."""
    _, records = make.replayed(make.SCENARIOS[0], tmp_path_factory.mktemp("played"))
    now_ms = clock.now_ns() // 1_000_000
    return [
        replace(record, timestamp_ms=now_ms) for record in records if record.topic in {CONSENTS, EXAMPLES}
    ]


def test_a_program_opens_real_examples_for_as_long_as_the_policy_names_it(
    own_broker: str, examples: Sequence[Outgoing], tmp_path: Path
) -> None:
    store = KeyStore.made(tmp_path / "keys")
    opened = [record for record in examples if record.topic == EXAMPLES]
    assert {may_be_learned(record) for record in opened} == {True, False}
    assert may_be_learned(opened[0])
    assert all(b"utterance" in (record.value or b"") for record in opened)

    async def put() -> list[Outgoing]:
        await declare(own_broker)
        written = await Keys(store).sealed(examples)
        await publish_now(own_broker, written)
        return list(written)

    assert not any(
        b"utterance" in (record.value or b"") for record in asyncio.run(put()) if record.topic == EXAMPLES
    )
    in_force(own_broker, HOUSEHOLD)
    in_force(own_broker, naming("study-7"))

    read, write = os.pipe()
    token = tmp_path / "token"
    arguments = ["--broker", own_broker, "--keys", str(tmp_path / "keys"), "--port", "0"]
    arguments += ["--principal", f"study-7={token}"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "keys", "serve", *arguments, "--ready-fd", str(write)],
        stdout=subprocess.PIPE,
        pass_fds=(write,),
        text=True,
    )
    os.close(write)
    try:
        assert os.read(read, 64) == b"READY=1\n"
        assert serving.stdout is not None
        service = serving.stdout.readline().split()[1].removesuffix("/keys")
        arguments = [own_broker, TRAINING_RUN, "study-7", service, str(token)]
        program = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        said = [program.stdout.readline().split(" ", 1) for _ in opened]
        program.kill()
        program.communicate()
        assert said == [
            [str(place), f"{len(record.value or b'') if may_be_learned(record) else NOT_FOR_TRAINING}\n"]
            for place, record in enumerate(opened)
        ]
        asyncio.run(follows_what_is_in_force(own_broker, store, opened, (service, token)))
    finally:
        serving.terminate()
        serving.communicate(timeout=PATIENCE_S)
        os.close(read)
    assert serving.returncode == 0
    told = [(each.principal, each.purpose, each.verdict) for each in store.releases()]
    assert told[0] == ("study-7", "ai:ModelTraining", "allow")
    assert ("study-7", "ai:ModelTraining", "deny") in told


async def follows_what_is_in_force(
    broker: str, store: KeyStore, opened: Sequence[Outgoing], asked: tuple[str, Path]
) -> None:
    """By the service and by the key store itself, the same is opened, and less as less is permitted."""
    records = await read_all(broker, EXAMPLES)
    service, token = asked
    async with (
        open_sealed(broker, TRAINING_RUN, "study-7", service=service, token=token) as distant,
        open_sealed(broker, TRAINING_RUN, "study-7", keys=store.path.parent) as near,
    ):
        for reader in (distant, near):
            values = [await reader.opened(record) for record in records]
            assert [value for value, _ in values] == [
                record.value if may_be_learned(record) else None for record in opened
            ]

        async def until(rule: str) -> None:
            for reader in (distant, near):
                for _ in range(int(PATIENCE_S)):
                    value, told = await reader.opened(records[0])
                    if rule in told:
                        break
                    await asyncio.sleep(0.2)
                assert (value, told) == (None, rule)

        # A sink by whose purpose it does not open.
        async with open_sealed(broker, "glasses.consents", "study-7", keys=store.path.parent) as other:
            with pytest.raises(NotReleasedError, match=r"keys_for of the sink glasses\.consents"):
                await other.opened(records[0])
        await publish_now(broker, [withdrawal_record(wearer_of(opened[0]), 0)])
        await until("consent: it is withdrawn")
        await asyncio.to_thread(store.erase, wearer_of(opened[0]), 1)
        await until("key: it is erased")
        await asyncio.to_thread(in_force, broker, HOUSEHOLD)
        for reader in (distant, near):
            with pytest.raises(NotReleasedError, match=f"household {HOUSEHOLD.version} does not name it"):
                await again_and_again(reader, records[0])


async def again_and_again(reader: SealedReader, record: Received) -> None:
    for _ in range(int(PATIENCE_S)):
        await reader.opened(record)
        await asyncio.sleep(1)


def may_be_learned(record: Outgoing) -> bool:
    """Whether the policy household lets a model learn from what is in the record's zone."""
    return dict(record.headers)["sightline-zone"] not in {b"bystander-present", b"health"}


def wearer_of(record: Outgoing) -> str:
    return str(orjson.loads(record.value or b"")["wearer_id"])


def test_keys_come_from_one_place(tmp_path: Path) -> None:
    async def opened(**given: str) -> None:
        async with open_sealed("127.0.0.1:9", TRAINING_RUN, "study-7", **given):  # type: ignore[arg-type]
            raise AssertionError

    for given in ({}, {"keys": "k", "service": "s", "token": "t"}, {"service": "s"}, {"token": "t"}):
        with pytest.raises(InputError, match="expected either keys=, the directory"):
            asyncio.run(opened(**given))
