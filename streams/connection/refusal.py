"""Why a reachable Kafka refuses a client: a test connection finds the cause, and a sentence reports it.

The client's own errors do not tell. For a wrong password, an untrusted certificate and an absent broker alike
aiokafka only reports that it could not bootstrap, and it reads a TLS reply as the length of a Kafka response.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aiokafka.conn import create_conn
from aiokafka.errors import (
    BrokerResponseError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams import limits
from streams.connection.credentials import client_options
from streams.settings.kafka import OAUTH, KafkaSettings


async def refusal(kafka: KafkaSettings) -> str:
    """Return why every broker of `kafka` refuses clients with its settings; empty if that is not the fault.

    It takes at most REFUSAL_WAIT_S for each address. InputError if a file of the settings cannot be used.
    """
    options = client_options(kafka)
    del options["bootstrap_servers"]
    answers = [await _asked(kafka, host, port, options) for host, port in kafka.addresses]
    return answers[0] if all(answers) else ""


async def _asked(kafka: KafkaSettings, host: str, port: int, options: dict[str, object]) -> str:
    """Return why the broker at `host` refuses; empty if it does not refuse or is not there."""
    address = f"{host}:{port}"
    try:
        async with asyncio.timeout(limits.REFUSAL_WAIT_S / 2):
            connection = await create_conn(host, port, **options)
            try:
                told = await connection.send(MetadataRequest([]))
            finally:
                await connection.close()
    except ConnectionRefusedError:
        return ""
    except (ssl.SSLCertVerificationError, BrokerResponseError) as error:
        return _answered(kafka, address, error)
    except (KafkaError, OSError, TimeoutError) as error:
        return await _silent(kafka, host, port, error)
    # Kafka may answer a client that has not authenticated with a cluster of no brokers.
    return "" if told.brokers else _unproven(kafka, address)


def _answered(kafka: KafkaSettings, address: str, error: BaseException) -> str:
    """Explain an error that the broker sent, or a certificate that is not trusted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of the broker {address} is not trusted ({error.verify_message}); set ca_file "
            "to the certificates that vouch for it, and name the broker as its certificate does."
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"The broker {address} does not know the mechanism {kafka.mechanism}; set one that it has."
    if isinstance(error, SaslAuthenticationFailed):
        return _refused(kafka, address)
    if isinstance(error, IllegalSaslStateError):
        return f"The broker {address} asks nobody for a name; leave mechanism {kafka.mechanism} out."
    return ""


async def _silent(kafka: KafkaSettings, host: str, port: int, error: BaseException) -> str:
    """Explain why a broker closed the connection or did not answer."""
    address = f"{host}:{port}"
    plain, encrypted = await asyncio.gather(_speaks_plainly(host, port), _speaks_tls(host, port))
    if kafka.encrypted and plain:
        return f"The broker {address} speaks no TLS, and the settings ask for it; name its port for TLS."
    if not kafka.encrypted and encrypted:
        return f"The broker {address} speaks TLS alone; set tls = true or a ca_file, or name its other port."
    if not (plain or encrypted) or isinstance(error, TimeoutError):
        return ""
    return _unproven(kafka, address)


def _unproven(kafka: KafkaSettings, address: str) -> str:
    """Explain why a broker that is reachable gives no answer."""
    if kafka.mechanism == OAUTH:
        # Kafka reports this in a response that aiokafka takes for success; then it ignores the client.
        return _refused(kafka, address)
    if kafka.cert_file is not None:
        why = f"it may not trust the certificate in {kafka.cert_file}, or want a mechanism with it"
    elif kafka.mechanism:
        why = "it may want another mechanism or none"
    else:
        why = "it may want a mechanism with it, or a cert_file"
    return f"The broker {address} ends the connections of a client like this one; {why}."


def _refused(kafka: KafkaSettings, address: str) -> str:
    if kafka.mechanism == OAUTH:
        return (
            f"The broker {address} does not take the token in {kafka.token_file}: it is over, or of another "
            "issuer; put a new one into the file."
        )
    return (
        f"The broker {address} does not know user {kafka.user!a} with this password by {kafka.mechanism}; "
        "correct the user, or the password in its file or in SIGHTLINE_KAFKA_PASSWORD."
    )


async def _speaks_plainly(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(limits.REFUSAL_WAIT_S / 2):
            connection = await create_conn(host, port)
            await connection.close()
    except (KafkaError, OSError, TimeoutError):
        return False
    return True


async def _speaks_tls(host: str, port: int) -> bool:
    # Nothing is sent on this connection, so the certificate need not be checked.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(limits.REFUSAL_WAIT_S / 2):
            _, writer = await asyncio.open_connection(host, port, ssl=trusting)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return True
