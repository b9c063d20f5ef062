"""What a Kafka client takes to reach a Kafka: address, TLS, and who it is.

Files are read when a client is made, the token's for each of its connections: what was renewed counts from
the next one on. aiokafka does not prove itself again on a connection that stands (KIP-368). A broker that
wants it ends the connection when a token is over; the client makes another one with the token that is in the
file then, and sends again what was not answered, under the number that the broker knows it by.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.abc import AbstractTokenProvider

from streams import limits, settings
from streams.connection.settings import BY_PASSWORD, OAUTH, Broker, KafkaSettings
from streams.errors import InputError, reason

T = TypeVar("T")


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Gives the token that a file holds now."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def token(self) -> str:
        """Return it; InputError when there is none."""
        return secret_in(self.path)


def client_options(broker: Broker, part: str = "") -> dict[str, Any]:
    """Arguments of an aiokafka client of any kind; `part` is put behind the client's id.

    InputError when a file that the settings name cannot be used; the message shows no word of it.
    """
    kafka = KafkaSettings.of(broker)
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.brokers,
        "client_id": f"{kafka.client_id}-{part}" if part else kafka.client_id,
    }
    if kafka.encrypted:
        options |= {"security_protocol": "SSL", "ssl_context": tls_context(kafka)}
    if kafka.mechanism:
        # `KafkaSettings` has refused a mechanism without TLS.
        options |= {"security_protocol": "SASL_SSL", "sasl_mechanism": kafka.mechanism}
    if kafka.mechanism in BY_PASSWORD:
        options |= {"sasl_plain_username": kafka.user, "sasl_plain_password": password(kafka)}
    if kafka.mechanism == OAUTH and kafka.token_file is not None:
        secret_in(kafka.token_file)
        options["sasl_oauth_token_provider"] = TokenFile(kafka.token_file)
    return options


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name; InputError when a file is none."""
    context = _with_files("ca_file", kafka.ca_file, lambda: _trusting(kafka.ca_file))
    if kafka.cert_file is not None:
        certificate, key = kafka.cert_file, kafka.key_file
        # A key that asks for its pass phrase at the terminal would stand still.
        _with_files(
            "cert_file and key_file", certificate, lambda: context.load_cert_chain(certificate, key, "")
        )
    return context


def password(kafka: KafkaSettings) -> str:
    """Return the password, of its file or of the variable; InputError when there is none."""
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
    """Return what a file holds without the end of its line; InputError, without a word of it, otherwise."""
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
    # Named, not left to a default: Faust's own `SSLCredentials()` fails for want of the purpose.
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
