"""The arguments by which a Kafka client connects: address, TLS and identity.

Files are read when a client is made; the file of a token is read for each of its connections. A renewed file
is used from the next read on. aiokafka does not authenticate again on an open connection (KIP-368). A broker
that requires it closes the connection when the token expires. The client then opens another one with the
token that is in the file by then, and repeats unanswered requests under their sequence numbers, so the broker
recognises them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.abc import AbstractTokenProvider

from streams import limits, settings
from streams.errors import InputError, reason
from streams.settings.kafka import BY_PASSWORD, OAUTH, Broker, KafkaSettings

T = TypeVar("T")


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Gives the current token of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def token(self) -> str:
        """Return the token; InputError if the file holds none."""
        return secret_in(self.path)


def client_options(broker: Broker, part: str = "") -> dict[str, Any]:
    """Arguments of any aiokafka client; `part` is appended to the client's id.

    InputError if a file that the settings name cannot be used; the message quotes nothing of its content.
    """
    kafka = KafkaSettings.of(broker)
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.brokers,
        "client_id": f"{kafka.client_id}-{part}" if part else kafka.client_id,
    }
    if kafka.encrypted:
        options |= {"security_protocol": "SSL", "ssl_context": tls_context(kafka)}
    if kafka.mechanism:
        # `KafkaSettings` refuses a mechanism without TLS.
        options |= {"security_protocol": "SASL_SSL", "sasl_mechanism": kafka.mechanism}
    if kafka.mechanism in BY_PASSWORD:
        options |= {"sasl_plain_username": kafka.user, "sasl_plain_password": password(kafka)}
    if kafka.mechanism == OAUTH and kafka.token_file is not None:
        secret_in(kafka.token_file)
        options["sasl_oauth_token_provider"] = TokenFile(kafka.token_file)
    return options


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name; InputError for an unusable file."""
    context = _with_files("ca_file", kafka.ca_file, lambda: _trusting(kafka.ca_file))
    if kafka.cert_file is not None:
        certificate, key = kafka.cert_file, kafka.key_file
        # The empty pass phrase makes a protected key an error; OpenSSL would else ask at the terminal and
        # wait.
        _with_files(
            "cert_file and key_file", certificate, lambda: context.load_cert_chain(certificate, key, "")
        )
    return context


def password(kafka: KafkaSettings) -> str:
    """Return the password from its file or from the variable; InputError if there is none."""
    if kafka.password_file is not None:
        return secret_in(kafka.password_file)
    given = settings.kafka_password()
    if not given:
        raise InputError(
            f"settings of Kafka: no password for user {kafka.user!a}; name a password_file, or set "
            "SIGHTLINE_KAFKA_PASSWORD"
        )
    return given


def secret_in(path: Path) -> str:
    """Return the secret in a file, without the line end; InputError, which quotes nothing, if it is none."""
    try:
        with path.open("rb") as file:
            content = file.read(limits.SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); expected a secret in it") from None
    if len(content) > limits.SECRET_BYTES_MAX:
        raise InputError(f"{path}: found more than {limits.SECRET_BYTES_MAX} bytes, expected a secret alone")
    try:
        secret = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""
    if not secret or not secret.isprintable():
        raise InputError(f"{path}: found no line of text, expected a secret alone in it")
    return secret


def _trusting(authorities: Path | None) -> ssl.SSLContext:
    # The purpose is given explicitly, because Faust's own `SSLCredentials()` fails without one.
    return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authorities)


def _with_files(named: str, path: Path | None, load: Callable[[], T]) -> T:
    try:
        return load()
    except ssl.SSLError:
        raise InputError(
            f"{path}: cannot be used as {named}; expected PEM, a key without pass phrase that belongs to its "
            "certificate"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as {named} ({reason(error)})") from None
