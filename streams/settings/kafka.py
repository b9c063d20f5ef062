"""Address, security and identity for a Kafka: the value from which every client is made.

`streams/connection/credentials.py` turns it into a client's arguments. It holds no secret: it names the file
of a secret, so neither a log nor a list of processes can show one. Only the password may come from a variable
instead, which is read when a client is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from streams.errors import InputError

PORT_MAX = 65_535
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/@]+):(\d{1,5})")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,100}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
#: Mechanisms with user and password, and the one with a token.
BY_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
OAUTH = "OAUTHBEARER"
MECHANISMS = (*BY_PASSWORD, OAUTH)
CLIENT_ID_DEFAULT = "sightline"
REPLICATION_FACTOR_MAX = 32_767


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Everything that is needed to connect to a Kafka and to create topics there.

    Parameters
    ----------
    brokers
        HOST:PORT, or several addresses of one cluster separated by commas.
    tls
        Whether connections are encrypted and the broker's certificate is checked. Implied if one of the files
        below is named for it.
    ca_file
        Trusted certificates, PEM; without it those of the system are trusted.
    cert_file, key_file
        The client's own certificate and its key, PEM, for a Kafka that identifies clients by certificates.
    mechanism
        How the client authenticates: one of `MECHANISMS`; empty for a Kafka without authentication.
    user
        User name for the mechanisms with a password.
    password_file
        File that holds only the password; without it the password is in SIGHTLINE_KAFKA_PASSWORD.
    token_file
        File that holds only the token, for OAUTHBEARER. It is read for each connection, so a token is renewed
        by replacing the file.
    client_id
        Name of the clients in the broker's log and quotas.
    topic_prefix
        Prefix of the names of all topics on this Kafka, such as `acme.`. Installations with different
        prefixes share a Kafka and do not see each other. The prefix is added only where a name is given to a
        client: lineage, state, journals and answers have the plain names.
    replication_factor
        Number of copies of each topic that is created.
    min_in_sync
        Number of copies that must have a record before it counts as written; None for the broker's default.

    Raises
    ------
    InputError
        Values contradict each other, or a password or a token would be sent unencrypted.
    """

    brokers: str
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: str = ""
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    client_id: str = CLIENT_ID_DEFAULT
    topic_prefix: str = ""
    replication_factor: int = 1
    min_in_sync: int | None = None

    def __post_init__(self) -> None:
        check_addresses(self.brokers, "broker")
        for wrong in (self._tls_fault(), self._identity_fault(), self._topics_fault()):
            if wrong:
                raise InputError(f"settings of Kafka: {wrong}")

    def __str__(self) -> str:
        """Return the addresses, as messages show them."""
        return self.brokers

    @classmethod
    def of(cls, broker: Broker) -> KafkaSettings:
        """Return settings unchanged; an address alone becomes the settings of an open Kafka."""
        return broker if isinstance(broker, KafkaSettings) else cls(broker)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each broker; an IPv6 host without its brackets."""
        parted = (address.rpartition(":") for address in self.brokers.split(","))
        return tuple((host.strip("[]"), int(port)) for host, _, port in parted)

    @property
    def urls(self) -> list[str]:
        """The addresses as URLs for Faust."""
        return [f"kafka://{address}" for address in self.brokers.split(",")]

    def wire_name(self, topic: str) -> str:
        """Name of a topic on this Kafka, with its prefix."""
        return self.topic_prefix + topic

    def plain_name(self, wire_name: str) -> str:
        """Name of a topic without the prefix that it has on this Kafka."""
        return wire_name.removeprefix(self.topic_prefix)

    def group_prefix(self, given: str) -> str:
        """Prefix of the names of consumer groups: `given`, or the prefix of the topics if that is empty."""
        return given or self.topic_prefix

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.tls or any((self.ca_file, self.cert_file, self.key_file))

    @property
    def open_address(self) -> str:
        """Address for `kafka/last_will.py`, which has neither TLS nor authentication; empty if encrypted."""
        return "" if self.encrypted else self.brokers.split(",")[0]

    def _tls_fault(self) -> str:
        if (self.cert_file is None) != (self.key_file is None):
            named, absent = ("cert_file", "key_file") if self.key_file is None else ("key_file", "cert_file")
            return f"found {named} without {absent}, expected both or neither"
        if self.mechanism and not self.encrypted:
            return (
                f"found mechanism {self.mechanism} without TLS, which would show the secret to the network; "
                "set tls = true, or name a ca_file"
            )
        return ""

    def _identity_fault(self) -> str:
        mechanism = self.mechanism
        if mechanism and mechanism not in MECHANISMS:
            return f"found mechanism {mechanism!a}, expected one of {', '.join(MECHANISMS)}"
        if (mechanism in BY_PASSWORD) != bool(self.user):
            return (
                f"found {'no user' if mechanism else 'a user'} with mechanism {mechanism or 'left out'}, "
                + ("expected one" if mechanism else f"expected one of {', '.join(BY_PASSWORD)}")
            )
        if self.password_file is not None and mechanism not in BY_PASSWORD:
            return f"found a password_file, expected one of {', '.join(BY_PASSWORD)} as the mechanism with it"
        if (mechanism == OAUTH) != (self.token_file is not None):
            return f"expected token_file and mechanism {OAUTH} together, found one alone"
        return ""

    def _topics_fault(self) -> str:
        if not _CLIENT_ID.fullmatch(self.client_id):
            return "client_id: expected 1 to 100 letters, digits, '.', '_' and '-'"
        if not _PREFIX.fullmatch(self.topic_prefix):
            return "topic_prefix: expected at most 100 letters, digits, '.', '_' and '-', as in `acme.`"
        if not 1 <= self.replication_factor <= REPLICATION_FACTOR_MAX:
            return f"found replication_factor {self.replication_factor}, expected at least 1"
        if self.min_in_sync is not None and not 1 <= self.min_in_sync <= self.replication_factor:
            return (
                f"found min_in_sync {self.min_in_sync}, expected 1 to the replication_factor "
                f"{self.replication_factor}: nothing could ever be written"
            )
        return ""


#: An address alone is an open Kafka: no TLS and no authentication.
Broker: TypeAlias = str | KafkaSettings


def check_addresses(addresses: str, named: str) -> None:
    """Raise InputError, which names the option, unless given HOST:PORT or several separated by commas."""
    parts = [_HOST_PORT.fullmatch(part) for part in addresses.split(",")]
    if not all(part and 0 < int(part[2]) <= PORT_MAX for part in parts):
        raise InputError(
            f"{named} {addresses!r}: found no address of a Kafka, expected HOST:PORT, such as 127.0.0.1:9092"
        )
