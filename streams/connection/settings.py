"""Which Kafka is meant, how it is reached, and as whom: the value that every client is made of.

`streams/connection/credentials.py` turns it into what a client takes. No secret is in it: it names the file
that holds one, so that neither a log nor a list of processes can show what it is worth to steal. Only the
password may come from a variable instead, and is read there when a client is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from streams.errors import InputError

PORT_MAX = 65_535
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/@]+):(\d{1,5})")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
#: Mechanisms that prove a client by user and password, and the one by a token.
BY_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
OAUTH = "OAUTHBEARER"
MECHANISMS = (*BY_PASSWORD, OAUTH)
CLIENT_ID_DEFAULT = "sightline"
REPLICATION_FACTOR_MAX = 32_767


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """All that reaching a Kafka needs, and what topics are made with there.

    Parameters
    ----------
    brokers
        HOST:PORT, or several of one cluster with commas between them.
    tls
        Whether connections are encrypted, and the broker's certificate is checked. Who names a file for it
        need not say so.
    ca_file
        Certificates that are trusted, PEM; those of the system without it.
    cert_file, key_file
        The client's own certificate and its key, PEM, for a Kafka that knows clients by them.
    mechanism
        How the client proves who it is: one of `MECHANISMS`; empty where nobody asks.
    user
        Name for the mechanisms by password.
    password_file
        The password alone in a file; without it SIGHTLINE_KAFKA_PASSWORD holds it.
    token_file
        The token alone in a file, for OAUTHBEARER. It is read for each connection, so whoever renews the
        token replaces the file.
    client_id
        What the broker's log and quotas call the clients.
    replication_factor
        Copies of each topic that is made.
    min_in_sync
        Copies that a record must have reached before it counts as written; None: what the broker says.

    Raises
    ------
    InputError
        Values that do not go together; a password or a token that would go over the network unencrypted.
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
    replication_factor: int = 1
    min_in_sync: int | None = None

    def __post_init__(self) -> None:
        check_addresses(self.brokers, "broker")
        for wrong in (self._tls_fault(), self._identity_fault(), self._topics_fault()):
            if wrong:
                raise InputError(f"settings of Kafka: {wrong}")

    def __str__(self) -> str:
        """Return the addresses, as sentences name a Kafka."""
        return self.brokers

    @classmethod
    def of(cls, broker: Broker) -> KafkaSettings:
        """Settings as they are; those of a Kafka that is open to everybody, of an address alone."""
        return broker if isinstance(broker, KafkaSettings) else cls(broker)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each broker; the host of an IPv6 address without its brackets."""
        parted = (address.rpartition(":") for address in self.brokers.split(","))
        return tuple((host.strip("[]"), int(port)) for host, _, port in parted)

    @property
    def urls(self) -> list[str]:
        """The addresses as Faust takes them."""
        return [f"kafka://{address}" for address in self.brokers.split(",")]

    @property
    def encrypted(self) -> bool:
        """Whether connections are TLS."""
        return self.tls or any((self.ca_file, self.cert_file, self.key_file))

    @property
    def open_address(self) -> str:
        """Where a last will is heard, which neither speaks TLS nor proves who it is; empty: nowhere."""
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
        if not 1 <= self.replication_factor <= REPLICATION_FACTOR_MAX:
            return f"found replication_factor {self.replication_factor}, expected at least 1"
        if self.min_in_sync is not None and not 1 <= self.min_in_sync <= self.replication_factor:
            return (
                f"found min_in_sync {self.min_in_sync}, expected 1 to the replication_factor "
                f"{self.replication_factor}: nothing could ever be written"
            )
        return ""


#: An address alone is a Kafka that is open to everybody: no TLS, no name.
Broker: TypeAlias = str | KafkaSettings


def check_addresses(addresses: str, named: str) -> None:
    """Refuse what is not HOST:PORT, or several with commas between them: InputError, naming the option."""
    parts = [_HOST_PORT.fullmatch(part) for part in addresses.split(",")]
    if not all(part and 0 < int(part[2]) <= PORT_MAX for part in parts):
        raise InputError(
            f"{named} {addresses!r}: found no address of a Kafka, expected HOST:PORT, such as 127.0.0.1:9092"
        )
