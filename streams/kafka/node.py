"""Configuration of a node of the embedded Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streams import limits

HOST = "127.0.0.1"


def logging_properties(root: Path) -> str:
    """Return the logging configuration: warnings, and members that join or leave groups, go to `kafka.log`.

    The size of the file is bounded, so that a failing broker does not fill the disk.
    """
    handler = "java.util.logging.FileHandler"
    values = {
        "handlers": handler,
        f"{handler}.pattern": str(root / "kafka.log").replace("%", "%%"),
        f"{handler}.append": "true",
        f"{handler}.limit": limits.BROKER_LOG_BYTES_MAX,
        f"{handler}.formatter": "java.util.logging.SimpleFormatter",
        "java.util.logging.SimpleFormatter.format": "%1$tFT%1$tT.%1$tL %4$s %3$s: %5$s%6$s%n",
        ".level": "WARNING",
        "kafka.server.KafkaRaftServer.level": "INFO",
        "org.apache.kafka.coordinator.group.level": "INFO",
        "org.apache.kafka.storage.internals.log.UnifiedLog.level": "INFO",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def node_properties(root: Path, port: int, differing: Mapping[str, str]) -> str:
    """Return the configuration of the node; `differing` overrides the settings here.

    docs/architecture.md, Transport, gives the reasons for values that are not Kafka's defaults.
    """
    message_bytes_max = limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{port + 1}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": root / "log",
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.retention.minutes": limits.OFFSETS_RETENTION_MINUTES,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # Otherwise a consumer of the newer protocol could join a worker's group and get its partitions.
        "group.consumer.migration.policy": "disabled",
        # A killed node can rejoin only after its session ends, which takes 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # The controller would write an empty record every 500 ms: a quarter of what an idle node computes.
        "metadata.max.idle.interval.ms": 0,
        "message.max.bytes": message_bytes_max,
        "replica.fetch.max.bytes": message_bytes_max,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in {**values, **differing}.items())
