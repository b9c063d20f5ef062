"""What sealing costs a worker: the same records through its core, with a key store and without one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.bars import SEALING, Measured
from bench.consents import known
from bench.in_turn import in_turn
from bench.stages import fetched, first_models
from bench.traffic import GLASSES
from streams import metrics, settings
from streams.events.record import StoredRecord
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveGlasses
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import POLICIES
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys

PAIRS = 11
_WORDS, _SPOKEN = "vocabulary/sealed.toml", '[[zones]]\nname = "voice-assistant"'
_DEVICES = 20


def sealed(directory: Path, number: int, pairs: int) -> Measured:
    """CPU time of `number` batches of wearers who all teach, with sealing and without, `pairs` times.

    Examples are sealed, and what wearers say to the assistant, with the situations made of it. Both process
    each fetch, one right after the other, so that a busy machine is the same for both; which comes first
    changes from fetch to fetch. Broker and transport are not in it, so the share is an upper bound of what
    throughput loses. The first pair makes the keys and is not counted.
    """
    policy = sealing_speech(load(settings.POLICY))
    consents = known(policy, _DEVICES, training=True)
    followed = Followed(PolicyTable(PolicyVersions.of(policy)), first_models(policy), consents)
    records = fetched(GLASSES, number, _DEVICES)
    spent: dict[bool, list[float]] = {True: [], False: []}
    directory.mkdir(parents=True)
    with contextlib.closing(KeyStore.made(directory / "keys")) as store:
        for turn in range(pairs + 1):
            before = metrics.read("sealed_total")
            pair = asyncio.run(_run(followed, records, Keys(store)))
            count = int(metrics.read("sealed_total") - before)
            for sealing, seconds in pair.items() if turn else ():
                spent[sealing].append(seconds)
    if not count:
        raise RuntimeError("nothing was sealed: nothing is measured")
    ratios = [100 * (on / off - 1) for on, off in zip(spent[True], spent[False], strict=True)]
    rows = [
        {"what": name, "CPU µs a batch": round(median(spent[sealing]) / number * 1e6, 2), "sealed": some}
        for name, sealing, some in (("unsealed", False, 0), ("sealed", True, count))
    ]
    title = f"Sealing, {GLASSES.name}, {number:,} batches of {_DEVICES} devices, {pairs} pairs"
    return Measured({title: rows}, [SEALING.held(ratios)])


def sealing_speech(policy: Policy) -> Policy:
    """The same policy, in whose zone of what is said to the assistant values are sealed."""
    shared, mark, own = policy.text.partition(f"#=== file {policy.name}.toml\n")
    words = f"#=== file {_WORDS}\n{(POLICIES / _WORDS).read_text(encoding='utf-8')}"
    for before, after in (
        ('imports = ["vocabulary/glasses.toml"]', f'imports = ["vocabulary/glasses.toml", "{_WORDS}"]'),
        ("honours = [", 'honours = ["local:Sealed", '),
        (_SPOKEN, f'{_SPOKEN}\nobligations = ["local:Sealed"]'),
    ):
        if before not in own:
            raise RuntimeError(f"{policy.name}: found no {before}, expected a policy like household")
        own = own.replace(before, after)
    return parse(f"{shared}{words}{mark}{own}", f"{policy.name}, sealing")


async def _run(followed: Followed, records: Sequence[StoredRecord], keys: Keys) -> dict[bool, float]:
    """Process all records twice, sealed or not; return the CPU seconds of this process."""
    cores = {True: LiveGlasses(followed, keys=keys), False: LiveGlasses(followed)}
    # Keys are asked for in threads.
    return await in_turn(cores, records, time.process_time)
