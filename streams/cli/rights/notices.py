"""Which notice the devices of wearers have, which they have shown, and who must be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, structs

from streams.cli.output import emit_json, emit_table
from streams.consent.notified import NoticeKey, Notified, notified_of
from streams.consent.view import Consents
from streams.consent.words import GIVEN, Word
from streams.errors import UnavailableError
from streams.events.headers import rfc3339
from streams.kafka.reader import read_all
from streams.printing import say
from streams.settings.kafka import Broker
from streams.topology import NOTICES

#: `due`: it has none. `outdated`: it has one of before. `acknowledged`: the device says that it was shown.
State = Literal["due", "outdated", "delivered", "acknowledged"]
_COLUMNS = ("wearer", "device", "notice", "state", "delivered", "acknowledged", "consent_under", "ask_again")
NOT_NAMED = "not named"


class NoticeState(Struct, frozen=True, kw_only=True):
    """The notice of the policy in force on a device that is bound to a wearer; times are the broker's.

    `consent_under` is the version under which the device gave the newest consent that was not withdrawn, None
    if there is none, empty if it named none. `ask_again`: that consent was given under other words than those
    of the notice now. It holds on for what it covered; only a new one can permit more.
    """

    wearer: str
    device: str
    notice: str
    state: State
    delivered_ns: int
    acknowledged_ns: int
    consent_under: str | None
    ask_again: bool

    @property
    def waits(self) -> bool:
        """Whether the wearer has not seen the notice there, or must be asked again."""
        return self.state != "acknowledged" or self.ask_again


async def notified_on(broker: Broker) -> Mapping[NoticeKey, Notified]:
    """What `glasses.notices` tells; a broker without that topic has delivered none, which is said aloud."""
    try:
        records = await read_all(broker, NOTICES)
    except UnavailableError as error:
        say(f"left out: notices, for they cannot be read: {error}", err=True)
        return {}
    notified, strange = notified_of(records)
    if strange:
        say(f"left out: records on {NOTICES} that no worker can have written ({strange})", err=True)
    return notified


def notice_states(
    consents: Consents, notified: Mapping[NoticeKey, Notified], version: str, now_ns: int
) -> list[NoticeState]:
    """The notice of `version` on each device that is bound to a wearer, by wearer and device."""
    under = _given_under(consents, now_ns)
    told = {(device, wearer) for device, wearer, _ in notified}
    states = list[NoticeState]()
    for pair, bound in consents.pairings.items():
        if not bound:
            continue
        device, wearer = pair
        newest = notified.get((device, wearer, version), Notified())
        state: State = "outdated" if pair in told else "due"
        if newest.delivered_ns:
            state = "acknowledged" if newest.acknowledged_ns else "delivered"
        states.append(
            NoticeState(
                wearer=wearer,
                device=device,
                notice=version,
                state=state,
                **structs.asdict(newest),
                consent_under=under.get(pair),
                ask_again=under.get(pair, version) != version,
            )
        )
    return sorted(states, key=lambda each: (each.wearer, each.device))


def _given_under(consents: Consents, now_ns: int) -> dict[tuple[str, str], str]:
    """By device and wearer, the notice of the newest consent that was given there and still holds."""
    given: dict[tuple[str, str], str] = {}
    for _, wearer, word in consents.between(0, consents.offset):
        if not isinstance(word, Word):
            continue
        if word.status == GIVEN and not 0 < word.expires_ns <= now_ns:
            given[word.device, wearer] = word.notice
        elif word.status == GIVEN:
            given.pop((word.device, wearer), None)
        else:
            # A withdrawal, on whichever device, takes back what was given on all of them.
            given = {pair: notice for pair, notice in given.items() if pair[1] != wearer}
    return given


def plain_states(states: Sequence[NoticeState]) -> list[dict[str, object]]:
    """The states for `--json`: times in RFC 3339, absent where there is none."""
    return [
        {
            field.removesuffix("_ns"): rfc3339(value) if field.endswith("_ns") else value
            for field, value in structs.asdict(each).items()
            if value is not None and not (field.endswith("_ns") and not value)
        }
        for each in states
    ]


def say_states(states: Sequence[NoticeState]) -> None:
    """Print the states as a table."""
    emit_table(
        _COLUMNS,
        [
            (
                each.wearer,
                each.device,
                each.notice,
                each.state,
                rfc3339(each.delivered_ns) if each.delivered_ns else "",
                rfc3339(each.acknowledged_ns) if each.acknowledged_ns else "",
                "" if each.consent_under is None else each.consent_under or NOT_NAMED,
                "yes" if each.ask_again else "",
            )
            for each in states
        ],
    )


def say_waiting(states: Sequence[NoticeState], *, as_json: bool) -> None:
    """Print the devices whose wearers have not seen the notice there, or must be asked again."""
    waiting = [each for each in states if each.waits]
    if as_json:
        emit_json(plain_states(waiting))
    elif waiting:
        say_states(waiting)
    else:
        say(f"every device has shown the notice to its wearers ({len(states)})")
