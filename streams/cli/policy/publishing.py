"""`sightline policy publish`: put another policy in force, or let it decide beside the one in force."""

from __future__ import annotations

import asyncio
import contextlib

import click

from streams import clock
from streams.cli.extending import kinds_option
from streams.cli.output import emit_facts, emit_json, json_option
from streams.connection.address import broker_option
from streams.errors import InputError
from streams.events.kinds import Kinds
from streams.events.record import Outgoing
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_all
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.policy.versions import CURRENT_KEY, NEXT_KEY, PolicyVersions, pointer_to, record_of
from streams.printing import say
from streams.settings.kafka import Broker
from streams.topology import POLICIES
from streams.worker.checking import Checker
from streams.worker.on_topics import policies_of


@click.command("publish")
@click.argument("file", required=False)
@broker_option()
@click.option(
    "--next",
    "beside",
    is_flag=True,
    help="Only let it decide beside the one in force, for `sightline policy shadow`.",
)
@click.option("--withdraw-next", is_flag=True, help="Let nothing decide beside the one in force any more.")
@kinds_option
@json_option
def publish(
    file: str | None, broker: Broker, beside: bool, withdraw_next: bool, kinds: Kinds, as_json: bool
) -> None:
    """Publish the policy FILE to glasses.policies: from their next fetches on, workers decide by it.

    A policy that is wrong is not published, and the one in force stays.
    """
    if (file is None) is not withdraw_next or (beside and withdraw_next):
        raise InputError("publish: expected a policy FILE (perhaps with --next), or --withdraw-next alone")
    today = clock.date_today()
    policy = None if file is None else load(file, today, kinds)
    for declassifier in () if policy is None else policy.declassifiers.values():
        if declassifier.overdue(today):
            review = declassifier.review(today)
            say(f"declassifier {declassifier.name}: {review}, its owner is {declassifier.owner}", err=True)
    answer = asyncio.run(_published(broker, policy, beside=beside))
    if as_json:
        emit_json(answer)
    else:
        emit_facts(answer)


async def _published(broker: Broker, policy: Policy | None, *, beside: bool) -> dict[str, str]:
    with contextlib.closing(Checker()) as checker:
        known = (await policies_of(await read_all(broker, POLICIES), checker)).now
    if not known.current:
        raise InputError(
            f"{POLICIES} on {broker} holds no policy in force; `sightline worker --policy` publishes the "
            "first one"
        )
    stamp_ms = clock.now_ns() // 1_000_000
    pointer = NEXT_KEY if policy is None or beside else CURRENT_KEY
    records = [] if policy is None else [Outgoing(POLICIES, 0, *record_of(policy), (), stamp_ms)]
    records.append(
        Outgoing(POLICIES, 0, pointer, None if policy is None else pointer_to(policy), (), stamp_ms)
    )
    await publish_now(broker, records)
    return _said(known, policy, beside=beside)


def _said(known: PolicyVersions, policy: Policy | None, *, beside: bool) -> dict[str, str]:
    before = known.version(known.current)
    in_force = before if policy is None or beside else policy
    facts = {
        "in force before": f"{before.name} {before.version}",
        "in force": f"{in_force.name} {in_force.version}",
    }
    if beside and policy is not None:
        facts["decides beside it"] = f"{policy.name} {policy.version}"
    elif known.next and policy is None:
        facts["decided beside it"] = known.next
    return facts
