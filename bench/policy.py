"""Tag and decision of a batch: in the pipeline, by evaluating CEL every time, and by Cedar.

The cost of a policy of 1,000 rules is measured too.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import cel
import psutil

from bench import consents
from bench.bars import Measured, Rows
from bench.load import AGE_NS, DEVICES
from bench.traffic import IMU_20, span_ns
from streams import clock
from streams.consent.view import PartitionConsents
from streams.consent.words import CLAIMED_CONSENT, reference
from streams.events.batch import Batch
from streams.policy import flow
from streams.policy.attributes import DOMAINS, Attributes, attributes_of
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import POLICIES
from streams.policy.step import Step, Stretch
from streams.policy.step import Tagged as Run
from streams.topology import STORE, ZONED

SINKS = (ZONED, STORE)
RULES, ZONES = 1000, 50
#: Share of the batches that each subject decides, chosen by its cost per batch.
_SHARES = {"sightline": 1.0, "CEL, every batch": 0.1, "CEL, every event": 0.01, "Cedar, every batch": 0.02}
Decide = Callable[[Sequence[Batch]], list[bool]]


def policy(number: int) -> Measured:
    """Tables: the cost of `number` batches of one zone, and of a policy of 1,000 rules.

    The first table is in µs per batch and µs per event.
    """
    household = load("household")
    start_ns = clock.now_ns() - AGE_NS - span_ns(IMU_20, number, DEVICES)
    some = list(IMU_20.batches(0, number, start_ns, DEVICES))
    rows: Rows = []
    for name, decide in subjects(household).items():
        mine = some[: max(int(number * _SHARES[name]), 20)]
        decide(mine[:20])
        spent_us = min(_timed(decide, mine) for _ in range(3)) / len(mine) * 1e6
        rows.append(
            {
                "subject": name,
                "µs a batch": round(spent_us, 2),
                "µs an event": round(spent_us / IMU_20.events_per_batch, 3),
            }
        )
    for row in rows:
        row["times Sightline"] = round(row["µs a batch"] / rows[0]["µs a batch"], 1)
    said = "bars: load ≤ 1 s, decisions ≤ 1.5 times the small one's, ≤ 50 MB more"
    return Measured(
        {
            f"Tag and two flow decisions of a batch of {IMU_20.events_per_batch} samples in one zone "
            "(bar: ≤ 4 µs a batch)": rows,
            f"A policy of {RULES:,} rules and {ZONES} zones ({said})": large(some),
        }
    )


def subjects(made: Policy) -> dict[str, Decide]:
    """Functions that decide, by name; each returns for every batch whether it may pass."""
    found: dict[str, Decide] = {
        "sightline": lambda some: pipeline(made, some),
        "CEL, every batch": by_cel(made, 1),
        "CEL, every event": by_cel(made, IMU_20.events_per_batch),
    }
    if importlib.util.find_spec("cedarpy") is not None:
        found["Cedar, every batch"] = by_cedar(made)
    return found


def _timed(decide: Decide, some: Sequence[Batch]) -> float:
    began_s = time.thread_time()
    passed = decide(some)
    spent_s = time.thread_time() - began_s
    if not all(passed):
        raise AssertionError("every batch of the load passes, whoever decides")
    return spent_s


def pipeline(made: Policy, some: Sequence[Batch]) -> list[bool]:
    """Decide as the zones stage does, stream by stream."""
    step, said = Step(), consents.known(made)
    known = PartitionConsents(said, said.offset, {})
    stretches: dict[str, Stretch] = {}
    refused: dict[str, str] = {}
    passed = []
    for batch in some:
        under = reference(batch.source, batch.stream, batch.consent)
        consent = known.of(batch.wearer_id, under, batch.t0_ns, batch.position, batch.t0_ns)
        tag = made.tag_of(batch.kind, batch.stream, batch.context, consent)
        run = Run(batch, tag.zone, tag.label, tag.rule, tag.attributes, batch.consent, consent)
        stretch = stretches.get(batch.source)
        if stretch is None or not stretch.continued_by(run):
            if stretch is not None:
                flow.decide(stretch.whole, SINKS, made, step)
            stretch = stretches[batch.source] = Stretch(run)
            refused[batch.source] = flow.rule_against(run, SINKS, made)
        stretch.batches.append(batch)
        passed.append(not refused[batch.source])
    for stretch in stretches.values():
        flow.decide(stretch.whole, SINKS, made, step)
    return passed


def by_cel(made: Policy, times: int) -> Decide:
    """Evaluate the conditions of the policy `times` times per batch.

    Zones from the highest rank down, then each sink and requirement.
    """
    zones = [(zone, cel.compile(zone.condition.text)) for zone in made.zones]
    may = cel.compile("purpose in purposes && region in regions")
    requirements = [
        (cel.compile(rule.when.text if rule.when else "true"), cel.compile(rule.require.text))
        for rule in made.requirements
    ]
    facts = {
        (zone.name, sink): made.facts(zone.name, made.labels["imu", zone.name], made.sinks[sink])
        for zone in made.zones
        for sink in SINKS
    }

    def passes(batch: Batch) -> bool:
        asked = _attributes(batch)._asdict()
        zone = next((zone.name for zone, program in zones if program.execute(asked)), "")
        for sink in SINKS:
            said = facts[zone, sink]
            if not may.execute(said) or any(
                when.execute(said) and not require.execute(said) for when, require in requirements
            ):
                return False
        return True

    return lambda some: [all(passes(batch) for _ in range(times)) for batch in some]


def _attributes(batch: Batch) -> Attributes:
    if batch.context is None:
        raise AssertionError("a captured batch has a context")
    return attributes_of(batch.kind, batch.stream, batch.context, CLAIMED_CONSENT)


def by_cedar(made: Policy) -> Decide:
    """The same decisions in Cedar, parsed once: a permit for each zone and sink that the zone may flow to."""
    import cedarpy  # noqa: PLC0415  only the bench's own environment has it

    texts = []
    higher: list[str] = []
    for zone in made.zones:
        own = _cedar(zone.condition.text)
        for sink in SINKS:
            if made.flow(zone.name, made.labels["imu", zone.name], sink, CLAIMED_CONSENT).passed:
                others = "".join(f" && !({one})" for one in higher)
                texts.append(
                    f'permit(principal, action, resource == Sink::"{sink}") when {{ ({own}){others} }};'
                )
        higher.append(own)
    parsed = cedarpy.PolicySet.from_str("\n".join(texts))

    def passes(batch: Batch) -> bool:
        asked = _attributes(batch)._asdict()
        return all(
            cedarpy.is_authorized(
                {
                    "principal": f'Device::"{batch.source}"',
                    "action": 'Action::"enter"',
                    "resource": f'Sink::"{sink}"',
                    "context": asked,
                },
                parsed,
                [],
            ).allowed
            for sink in SINKS
        )

    return lambda some: [passes(batch) for batch in some]


def _cedar(text: str) -> str:
    """A condition of equalities as a Cedar condition."""
    named = re.sub(rf"\b({'|'.join(DOMAINS)})\b(?=[^']*(?:'[^']*'[^']*)*$)", r"context.\1", text)
    return named.replace("'", '"')


def large_text(rules: int = RULES, zones: int = ZONES) -> str:
    """The household policy with `zones` zones and enough requirements to have `rules` rules in all.

    None of the added rules applies to the load.
    """
    text = load("household").text
    streams = "".join(
        f'[[zones]]\nname = "room-{at}"\nrank = {1000 + at}\n'
        f'when = "consent_given && stream == \'room-{at}\'"\nmode = "enforcing"\nsubjects = ["wearer"]\n'
        'purposes = ["dpv:LegalCompliance"]\nregions = ["household"]\nretention = "day"\n'
        'reason = "A room of its own."\n\n'
        for at in range(zones - len(load("household").zones))
    )
    words = ("risk == 'high'", "region == 'eu'", "purpose == 'ai:ModelTraining'")
    many = "".join(
        f'[[requirements]]\nname = "rule-{at}"\nabout = "House rule {at}."\n'
        f"when = \"'pd:Health' in categories && retention_days > {at % 30}\"\n"
        f'require = "!({words[at % 3]})"\n\n'
        for at in range(rules - zones)
    )
    before, mark, after = text.partition("[[sinks]]")
    return before + streams + many + mark + after


def large(some: Sequence[Batch]) -> Rows:
    """Loading, decisions and memory of the large policy, compared with the small one."""
    text = large_text()
    began_s = time.thread_time()
    made = parse(text, "large")
    load_s = time.thread_time() - began_s
    small = load("household")
    for one in (small, made):
        pipeline(one, some[:20])
    ratio = min(_timed(lambda batches, of=made: pipeline(of, batches), some) for _ in range(3)) / min(  # type: ignore[misc]
        _timed(lambda batches: pipeline(small, batches), some) for _ in range(3)
    )
    return [
        {"what": "load", "value": f"{load_s:.2f} s"},
        {"what": "decisions, of the small one's time", "value": f"{ratio:.2f}"},
        {"what": "first decision of a new label at a sink", "value": f"{_first_us(made):,.0f} µs"},
        {
            "what": "memory beyond the small one",
            "value": f"{_memory_mb('large') - _memory_mb('small'):.0f} MB",
        },
    ]


def _first_us(made: Policy) -> float:
    labels: Mapping[tuple[str, str], bytes] = made.labels
    began_s = time.thread_time()
    for (_, zone), label in list(labels.items())[:50]:
        made.flow(zone, label, ZONED, CLAIMED_CONSENT)
    return (time.thread_time() - began_s) / 50 * 1e6


def _memory_mb(which: str) -> float:
    """Memory of a process that has loaded one policy and made a few decisions."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.policy", which],
        capture_output=True,
        text=True,
        check=True,
        cwd=POLICIES.parents[2],
    )
    return float(result.stdout)


if __name__ == "__main__":
    loaded = parse(large_text(), "large") if sys.argv[1] == "large" else load("household")
    pipeline(loaded, list(IMU_20.batches(0, 200, clock.now_ns() - AGE_NS, DEVICES)))
    sys.stdout.write(f"{psutil.Process().memory_info().rss / 1e6}")
