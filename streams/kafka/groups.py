"""Consumer groups: whose the offsets are that a group has committed, and who is in it.

Whatever else consumes under the name of an agent's group commits offsets of records that no agent has
processed. A commit of ours says so in its metadata. One that does not is believed only where nothing better
is known: the last record of lineage of an agent's transactions says the offset that was committed with it.
Members that are no workers are kept out by the name of our way to assign: a broker lets nobody into a group
who does not know it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import group_coordinator
from aiokafka.errors import CoordinatorLoadInProgressError, InconsistentGroupProtocolError, for_code

from streams import limits, metrics, topology
from streams.connection.settings import Broker, KafkaSettings
from streams.errors import InputError
from streams.printing import printable

log = logging.getLogger(__name__)

#: Metadata of every commit of an agent.
MARK = "sightline"
#: Name under which workers assign partitions among themselves.
PROTOCOL = "sightline"
_PREFIX = re.compile(r"[A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Commit:
    """The next offset that a group reads of a partition, and whether an agent has committed it."""

    offset: int
    ours: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its broker describes it; `members` are client id and host of each.

    A group that nobody is in has the state Empty or Dead. One whose members speak the newer protocol of
    consumers is none that can be described, and has the state Dead as well.
    """

    name: str
    state: str
    protocol_type: str
    protocol: str
    members: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return who is in it, in words."""
        if not self.members:
            return f"nobody is in the group {self.name} (state {self.state or 'unknown'})"
        shown = [
            f"{_short(client)} at {_short(host.lstrip('/'))}"
            for client, host in self.members[: limits.GROUP_MEMBERS_SAID_MAX]
        ]
        rest = len(self.members) - len(shown)
        more = f" and {rest} more" if rest else ""
        how = f", assigned by {_short(self.protocol)}" if self.protocol not in ("", PROTOCOL) else ""
        kind = f", a {_short(self.protocol_type)} group" if self.protocol_type not in ("", "consumer") else ""
        return (
            f"in the group {self.name} (state {self.state}{kind}{how}) are {', '.join(sorted(shown))}{more}"
        )


def check_prefix(prefix: str) -> None:
    """Refuse a prefix of group names that no agent's group can have: InputError."""
    room = limits.GROUP_CHARACTERS_MAX - max(map(len, topology.AGENTS))
    if len(prefix) > room or not _PREFIX.fullmatch(prefix):
        raise InputError(
            f"--group-prefix (SIGHTLINE_GROUP_PREFIX): found {len(prefix)} characters that a group's name"
            f" cannot begin with; expected at most {room} letters, digits, '.', '_' and '-', as in `acme.`"
        )


async def commits(
    admin: AIOKafkaAdminClient, broker: Broker, group: str, places: Iterable[TopicPartition]
) -> dict[TopicPartition, Commit]:
    """Return what a group has committed; partitions of which it never did are absent.

    KafkaError when the group's coordinator cannot say so now.
    """
    kafka = KafkaSettings.of(broker)
    asked = {TopicPartition(kafka.wire_name(tp.topic), tp.partition): tp for tp in places}
    listed = await admin.list_consumer_group_offsets(group, partitions=list(asked))
    if len(listed) < len(asked):
        # An error of the whole group (its coordinator is loading) has no entries, and the client does not
        # look at its code.
        raise CoordinatorLoadInProgressError(f"no offsets of group {group} yet")
    return {
        asked[tp]: Commit(commit.offset, commit.metadata == MARK)
        for tp, commit in listed.items()
        if commit.offset >= 0
    }


async def described(admin: AIOKafkaAdminClient, group: str) -> Group:
    """Return a group as its coordinator describes it; KafkaError when it cannot now."""
    # One group a request: the client reads an answer about several wrongly.
    (answer,) = await admin.describe_consumer_groups([group])
    code, _, state, kind, protocol, members = answer.groups[0][:6]
    error = for_code(code)
    if error.retriable:
        raise error(f"group {group} cannot be described yet")
    return Group(
        group,
        state,
        kind,
        protocol,
        tuple((client, host) for _, client, host, *_ in members),
    )


async def say_foreign(
    admin: AIOKafkaAdminClient, agent: str, group: str, place: TopicPartition, offset: int, expected: int
) -> None:
    """Say and count that somebody else has committed an offset, and who is in the group now."""
    metrics.count("foreign_commit_total", agent=agent, partition=str(place.partition))
    log.error(
        "Somebody else commits in the group %s: found offset %d of %s partition %d, expected %d, which this "
        "agent committed last; %s. It is not followed: %s goes on at %d, nothing is skipped or repeated. "
        "Give that consumer a group of its own",
        group,
        offset,
        place.topic,
        place.partition,
        expected,
        await described(admin, group),
        agent,
        expected,
    )


def unformed_sentence(agent: str, who: Group, since_s: float, *, let_in: bool) -> str:
    """Return the sentence about a group that gives its member no partitions.

    `let_in`: the broker has made it a member. Then all the others are workers of ours too, which share the
    partitions out anew; otherwise they assign in another way than ours, unless the group says that they do
    not.
    """
    newer = ""
    if who.members and (let_in or who.protocol == PROTOCOL):
        consequence = (
            "they are workers of this version and share the partitions out anew; that waits up to "
            f"{limits.SESSION_TIMEOUT_S:g} s for one that has died, and up to "
            f"{limits.REBALANCE_TIMEOUT_S:g} s for one that does not answer"
        )
    elif who.members or who.state == "Dead":
        consequence = (
            f"{agent} reads nothing until they have left: workers share a group with workers of this version "
            "alone"
        )
        if not who.members:
            newer = (
                "; consumers of the newer protocol (KIP-848) in a group are not shown here, "
                "`kafka-consumer-groups --describe` names them"
            )
    else:
        consequence = "the broker assigns nothing; look into its log"
    return f"Waiting for partitions of {agent} (since {since_s:.0f} s): {who}{newer}; {consequence}"


class _Taken(logging.Filter):
    """Leaves out the client's line that a group is taken."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(isinstance(argument, InconsistentGroupProtocolError) for argument in arguments)


_TAKEN = _Taken()


def leave_to_lookout() -> None:
    """Keep aiokafka from saying at each attempt that a group is taken; the lookout says who has it.

    Safe to repeat.
    """
    logging.getLogger(group_coordinator.__name__).addFilter(_TAKEN)


def _short(text: str) -> str:
    """Somebody else's name of itself, as far as a sentence has room for it."""
    return printable(text)[: limits.CLIENT_ID_CHARACTERS_MAX]
