"""Consumer groups: who committed a group's offsets, and who its members are.

A foreign consumer that uses the name of an agent's group would commit offsets of records that no agent has
processed. So agents mark their commits in the commit's metadata. A commit without the mark is trusted only if
lineage does not say otherwise: the last lineage record of each transaction of an agent holds the offset that
the transaction committed. Consumers that are no workers cannot join the group in the first place, because
workers use an assignment protocol of their own, and a broker refuses members that do not support it.
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
from streams.errors import InputError
from streams.printing import printable
from streams.settings.kafka import Broker, KafkaSettings

log = logging.getLogger(__name__)

#: Metadata that marks every commit of an agent.
MARK = "sightline"
#: Name of the workers' protocol for assigning partitions.
PROTOCOL = "sightline"
_PREFIX = re.compile(r"[A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Commit:
    """The next offset that a group reads of a partition, and whether an agent has committed it."""

    offset: int
    ours: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its coordinator describes it; `members` has the client id and host of each member.

    A group without members has the state Empty or Dead. A group of the newer consumer protocol (KIP-848)
    cannot be described and has the state Dead too.
    """

    name: str
    state: str
    protocol_type: str
    protocol: str
    members: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Describe the members in words."""
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
    """Check a prefix for the names of groups; InputError if the names would be invalid."""
    room = limits.GROUP_CHARACTERS_MAX - max(map(len, topology.AGENTS))
    if len(prefix) > room or not _PREFIX.fullmatch(prefix):
        raise InputError(
            f"--group-prefix (SIGHTLINE_GROUP_PREFIX): found {len(prefix)} characters that a group's name"
            f" cannot begin with; expected at most {room} letters, digits, '.', '_' and '-', as in `acme.`"
        )


async def commits(
    admin: AIOKafkaAdminClient, broker: Broker, group: str, places: Iterable[TopicPartition]
) -> dict[TopicPartition, Commit]:
    """Return the commits of a group; partitions without one are absent.

    KafkaError if the group's coordinator is not available now.
    """
    kafka = KafkaSettings.of(broker)
    asked = {TopicPartition(kafka.wire_name(tp.topic), tp.partition): tp for tp in places}
    listed = await admin.list_consumer_group_offsets(group, partitions=list(asked))
    if len(listed) < len(asked):
        # aiokafka ignores the error code of the whole group (its coordinator is loading) and returns no
        # entries.
        raise CoordinatorLoadInProgressError(f"no offsets of group {group} yet")
    return {
        asked[tp]: Commit(commit.offset, commit.metadata == MARK)
        for tp, commit in listed.items()
        if commit.offset >= 0
    }


async def described(admin: AIOKafkaAdminClient, group: str) -> Group:
    """Describe a group; KafkaError if its coordinator is not available now."""
    # One group per request, because aiokafka misreads responses about several groups.
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
    """Log and count a foreign commit, and say who is in the group now."""
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
        strangers_sentence(await described(admin, group)),
        agent,
        expected,
    )


def strangers_sentence(who: Group) -> str:
    """Return what a group's members tell of a stranger who committed in it.

    A broker lets nobody in beside workers who does not assign partitions as they do, so where one worker is a
    member all are. Who committed is none of them, and workers are not named. While a group rebalances, the
    broker does not say how its members assign.
    """
    if not who.members:
        return f"{who}, so whoever it was has left"
    if not who.protocol:
        return f"the group {who.name} shares its partitions out anew (state {who.state}), so nobody is named"
    if who.protocol == PROTOCOL:
        return (
            f"in the group {who.name} are workers alone by now, so whoever it was has left, or commits "
            "without being a member"
        )
    return str(who)


def unformed_sentence(agent: str, who: Group, since_s: float, *, let_in: bool) -> str:
    """Return the sentence about a group in which a worker waits for partitions.

    `let_in`: the broker has made the worker a member. Then all other members are workers too, and the group
    rebalances. Otherwise they use another assignment protocol, unless the description of the group shows that
    they do not.
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
    """Drops aiokafka's log lines about an inconsistent group protocol."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(isinstance(argument, InconsistentGroupProtocolError) for argument in arguments)


_TAKEN = _Taken()


def leave_to_lookout() -> None:
    """Stop aiokafka from logging each refused attempt to join a group; `Lookout` reports who its members are.

    Safe to repeat.
    """
    logging.getLogger(group_coordinator.__name__).addFilter(_TAKEN)


def _short(text: str) -> str:
    """A foreign name, made printable and shortened."""
    return printable(text)[: limits.CLIENT_ID_CHARACTERS_MAX]
