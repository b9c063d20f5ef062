"""An embedded Kafka of several nodes on one machine, to try out what happens when a node fails.

Each node is broker and controller. Every topic has a replica on each node, and a record is acknowledged when
all but one node have it. So no acknowledged record is lost with any one node, and writing continues.
"""

from __future__ import annotations

from pathlib import Path

from streams import files
from streams.errors import InputError
from streams.kafka.broker import EmbeddedBroker, cluster_id
from streams.kafka.jars import Progress
from streams.kafka.node import HOST
from streams.settings.kafka import KafkaSettings

#: Two nodes would be worse than one, because the cluster stops when either fails.
NODES_MIN, NODES_MAX = 3, 7
#: Each node takes two ports: one for clients, the next one for its controller.
_PORTS_EACH = 2


class EmbeddedCluster:
    """`count` nodes on the ports `port`, `port + 2` and so on, each in a directory of its own below one."""

    def __init__(self, count: int) -> None:
        if not NODES_MIN <= count <= NODES_MAX:
            raise InputError(f"--nodes {count}: expected 1, or {NODES_MIN} to {NODES_MAX}")
        self.nodes = [EmbeddedBroker() for _ in range(count)]
        self._directory, self._port = Path(), 0

    @property
    def kafka(self) -> KafkaSettings:
        """Connection settings for clients, with the replication of topics."""
        addresses = ",".join(f"{HOST}:{self._port_of(at)}" for at in range(len(self.nodes)))
        return KafkaSettings(addresses, replication_factor=len(self.nodes), min_in_sync=len(self.nodes) - 1)

    def start(self, directory: Path, port: int, on_progress: Progress) -> None:
        """Start all nodes and return when they know each other; errors as in `EmbeddedBroker.start`."""
        self._directory, self._port = directory, port
        files.make_directory(directory)
        common = cluster_id(directory)
        try:
            for at in range(len(self.nodes)):
                files.make_directory(self._directory_of(at))
                with files.written(self._directory_of(at) / "cluster.id") as file:
                    file.write(common.encode())
                self._begin(at, on_progress)
            for node in self.nodes:
                node.finish(len(self.nodes))
        except BaseException:
            self.stop()
            raise

    def restart(self, at: int) -> None:
        """Restart a node that has ended; return when it answers."""
        self._begin(at, lambda _sentence: None)
        self.nodes[at].finish()

    def wait(self) -> None:
        """Return when all nodes have ended."""
        for node in self.nodes:
            node.wait()

    def stop(self) -> None:
        """Shut all running nodes down cleanly."""
        for node in self.nodes:
            node.stop()

    def _begin(self, at: int, on_progress: Progress) -> None:
        self.nodes[at].begin(self._directory_of(at), self._port_of(at), on_progress, self._properties(at))

    def _port_of(self, at: int) -> int:
        return self._port + _PORTS_EACH * at

    def _directory_of(self, at: int) -> Path:
        return self._directory / f"node-{at + 1}"

    def _properties(self, at: int) -> dict[str, str]:
        count = len(self.nodes)
        voters = ",".join(f"{each + 1}@{HOST}:{self._port_of(each) + 1}" for each in range(count))
        copies, in_sync = str(count), str(count - 1)
        return {
            "node.id": str(at + 1),
            "controller.quorum.voters": voters,
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
        }
