"""`sightline rights consent`: what a wearer agreed to from when to when, and what her withdrawals stop.

Beside that, which notice her devices have and have shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from msgspec import structs, to_builtins

from streams import clock
from streams.cli.inventory import packages_option
from streams.cli.names import name
from streams.cli.output import (
    emit_facts,
    emit_json,
    emit_table,
    json_option,
    keys_option,
    role_option,
)
from streams.cli.rights.heeding import Heeded, heeded_of
from streams.cli.rights.notices import (
    NOT_NAMED,
    NoticeState,
    notice_states,
    notified_on,
    plain_states,
    say_states,
    say_waiting,
)
from streams.connection.address import broker_option
from streams.consent.history import ConsentHistory, TakenAway, history_of, record_name, taken_away
from streams.consent.notified import NoticeKey, Notified
from streams.consent.view import Consents
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.consent_record import Handling, Stated, handlings_of, missing, receipt
from streams.policy.notice import NOBODY, notice_of
from streams.policy.policy import Policy
from streams.policy.stopping import StoppedSink, stopped
from streams.printing import say
from streams.queries.declared import System, asks_consent
from streams.queries.role import Role
from streams.settings.kafka import Broker
from streams.topology import CONSENTS
from streams.worker.models import put_in_force
from streams.worker.on_topics import consents_of_topic
from streams.worker.sealing import recognise

_INTERVALS = ("record", "purposes", "notice", "since", "until", "expires", "ended", "by")
_TAKEN = ("at", "by", "how", "purposes", "devices", "stops")
_HEEDED = (
    *("at", "taken_up", "by_all", "partitions"),
    *("passed_after", "last_passed", "s_after_the_word"),
)
_S_NS = 10**9
#: Stands under what is stopped: by when that holds.
BY_WHEN = (
    "Each stops for every record that a partition reads after it took the word up, whenever the record was"
    " captured; what expired stops at that time, by the broker's clock."
)


@dataclass(frozen=True, slots=True)
class Answered:
    """All that is told of a wearer's consent; `heeded` is empty without a store."""

    wearer: str
    devices: Sequence[str]
    policy: Policy
    history: ConsentHistory
    taken: Sequence[tuple[TakenAway, Sequence[StoppedSink]]]
    heeded: Sequence[Heeded]
    receipt: Mapping[str, Any]
    notices: Sequence[NoticeState]


@click.command("consent")
@click.option("--wearer", default=None, help="Pseudonym of the wearer.")
@click.option(
    "--unacknowledged",
    is_flag=True,
    help="List the devices whose wearers have not seen the notice there, or must be asked again.",
)
@broker_option()
@keys_option
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Directory of a published store: says too how soon withdrawals were heeded.",
)
@role_option
@packages_option
@click.option("--jsonld", "as_jsonld", is_flag=True, help="Answer with a receipt of all records in JSON-LD.")
@json_option
def consent(
    *,
    wearer: str | None,
    unacknowledged: bool,
    broker: Broker,
    keys: Path,
    store: Path | None,
    role: Role,
    packages: tuple[str, ...],
    as_jsonld: bool,
    as_json: bool,
) -> None:
    """Tell what a wearer agreed to, from when to when, what ended it, and what each withdrawal stops.

    --jsonld has the wearer's consent records and a receipt of them by ISO/IEC TS 27560, in the terms of the
    Data Privacy Vocabulary. What neither the wearer nor the policy stated is listed there as missing.
    --unacknowledged needs no wearer, and of one it lists her devices alone.
    """
    if as_jsonld and (as_json or unacknowledged):
        beside = "--json" if as_json else "--unacknowledged"
        raise InputError(f"--jsonld: found it beside {beside}, expected one of them")
    if wearer is None and not unacknowledged:
        raise InputError("--wearer: found none, expected a wearer to tell of, or --unacknowledged for all")
    wearer, system = wearer and name("wearer", wearer), System.extended(packages)
    consents, policies, notified = asyncio.run(_read(broker))
    version = notice_of(policies[-1][1]).version
    states = notice_states(consents, notified, version, clock.now_ns())
    if wearer is not None:
        states = [each for each in states if each.wearer == wearer]
    if wearer is None or unacknowledged:
        say_waiting(states, as_json=as_json)
        return
    recognise(consents, keys, wearer)
    history = history_of(consents, wearer, clock.now_ns())
    if not history.newest_ns:
        raise InputError(
            f"wearer {wearer}: found nothing that was ever said on {CONSENTS}, expected consents to tell of;"
            " `sightline pair --list` has the wearers who are known"
        )
    heeded = heeded_of(store, role, wearer, history)
    answer = answered(wearer, consents, history, policies, system, states, heeded)
    if as_jsonld:
        emit_json(answer.receipt)
    elif as_json:
        emit_json(plain(answer))
    else:
        say_consent(answer)


async def _read(
    broker: Broker,
) -> tuple[Consents, list[tuple[int, Policy]], Mapping[NoticeKey, Notified]]:
    policies = await put_in_force(broker)
    return await consents_of_topic(broker), policies, await notified_on(broker)


def answered(
    wearer: str,
    consents: Consents,
    history: ConsentHistory,
    policies: Sequence[tuple[int, Policy]],
    system: System,
    notices: Sequence[NoticeState] = (),
    heeded: Sequence[Heeded] = (),
) -> Answered:
    """Put together what is told; `policies` are those that were in force, each with its time."""
    policy = policies[-1][1]
    handled: dict[str, Mapping[str, Handling]] = {}

    def stated(at_ns: int) -> Stated:
        then = [each for since_ns, each in policies if since_ns <= at_ns]
        if not then:
            return Stated()
        version = then[-1].version
        if version not in handled:
            handled[version] = handlings_of(then[-1], asks_consent(then[-1], system))
        return Stated(policy=then[-1], handlings=handled[version])

    flows = asks_consent(policy, system)
    return Answered(
        wearer,
        consents.devices_of(wearer),
        policy,
        history,
        [(each, stopped(policy, flows, set(each.purposes), set(each.left))) for each in taken_away(history)],
        heeded,
        receipt(wearer, history, stated),
        notices,
    )


def plain(answer: Answered) -> dict[str, object]:
    """The answer for `--json`: times in RFC 3339, absent where there is none."""
    history = answer.history
    intervals = [
        {"record": record_name(each.under), **_without_empty(structs.asdict(each), "under", "left")}
        for each in history.intervals
    ]
    taken: list[dict[str, object]] = [
        {**_without_empty(structs.asdict(each)), "stops": to_builtins(stops)} for each, stops in answer.taken
    ]
    for row, heeded in zip(taken, answer.heeded, strict=False):
        row["heeded"] = _without_empty({**structs.asdict(heeded), **structs.asdict(heeded.passed)}, "passed")
    records = answer.receipt["dpv:hasRecordOfActivity"]
    return {
        "wearer": answer.wearer,
        "devices": answer.devices,
        "policy": f"{answer.policy.name} {answer.policy.version}",
        "notices": plain_states(answer.notices),
        "intervals": intervals,
        "taken_back": taken,
        "erased": [rfc3339(at_ns) for at_ns in history.erased_ns],
        "erased_since": [_time(since_ns) for since_ns in history.erased_since_ns],
        "erased_at_places": [
            {"place": place, "since": _time(time.since_ns), "until": rfc3339(time.until_ns)}
            for place, time in history.erased_at
        ],
        "erasures_untold": history.untold,
        "records": [{"id": each["@id"], "missing": missing(each)} for each in records],
    }


def _without_empty(fields: Mapping[str, Any], *but: str) -> dict[str, object]:
    shown: dict[str, object] = {}
    for field, value in fields.items():
        if field in but or value is None or (field.endswith("_ns") and not value):
            continue
        if field.endswith("_ns"):
            shown[field.removesuffix("_ns")] = rfc3339(value)
        elif value != "":
            shown[field] = value
    return shown


def say_consent(answer: Answered) -> None:
    """Print the answer for people."""
    history = answer.history
    if history.untold:
        say(
            f"left out: erasures on {CONSENTS} ({history.untold}), for without the key store nothing tells"
            " whose they are; name it with --keys",
            err=True,
        )
    emit_facts(
        {
            "wearer": answer.wearer,
            "devices": ", ".join(answer.devices) or "none",
            "policy": f"{answer.policy.name} {answer.policy.version}",
            "controller": answer.policy.owner.says or NOBODY,
            "notice": notice_of(answer.policy).version,
            "erased until": rfc3339(history.erased_ns[-1]) if history.erased_ns else "",
            "erased since": _time(history.erased_since_ns[-1]) if history.erased_since_ns else "",
            "erased at places": ", ".join(
                f"{place} until {rfc3339(time.until_ns)}" for place, time in history.erased_at
            ),
        }
    )
    _say_table(
        "in force",
        _INTERVALS,
        [
            (
                record_name(each.under),
                " ".join(each.purposes),
                each.notice or NOT_NAMED,
                rfc3339(each.since_ns),
                _time(each.until_ns),
                _time(each.expires_ns),
                each.ended or "in force",
                each.ended_by,
            )
            for each in history.intervals
        ],
    )
    _say_table(
        "taken back",
        _TAKEN,
        [
            (
                rfc3339(each.at_ns),
                each.by,
                each.ended,
                " ".join(each.purposes),
                ", ".join(each.devices),
                ", ".join(stop.sink for stop in stops) or "nothing",
            )
            for each, stops in answer.taken
        ],
    )
    if answer.taken:
        _say_rest(answer)
    if answer.notices:
        say()
        say("notices")
        say_states(answer.notices)


def _say_rest(answer: Answered) -> None:
    """Say by when it stops, what goes on, and how it was heeded if a store tells."""
    on = sorted({zone for _, stops in answer.taken for stop in stops for zone in stop.goes_on})
    say()
    say(BY_WHEN)
    if on:
        say(f"What is in these zones goes on without consent, or is only logged: {', '.join(on)}.")
    rows = [
        (
            rfc3339(each.at_ns),
            "not shown" if heeded.taken_up_ns is None else _time(heeded.taken_up_ns),
            "" if heeded.by_all_ns is None else _time(heeded.by_all_ns),
            "" if heeded.partitions is None else heeded.partitions,
            heeded.passed.events,
            _time(heeded.passed.last_ns),
            (heeded.passed.last_ns - each.at_ns) / _S_NS if heeded.passed.last_ns else 0.0,
        )
        for (each, _), heeded in zip(answer.taken, answer.heeded, strict=False)
    ]
    _say_table("heeded", _HEEDED, rows)


def _say_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        say()
        say(heading)
        emit_table(columns, rows)


def _time(at_ns: int) -> str:
    return rfc3339(at_ns) if at_ns else ""
