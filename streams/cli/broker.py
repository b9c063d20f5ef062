"""`sightline broker`: an embedded Apache Kafka in the foreground."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import click

from streams import topology
from streams.cli.staying import stays
from streams.connection.address import topic_prefix
from streams.errors import UnavailableError
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.cluster import EmbeddedCluster
from streams.kafka.topics import declare
from streams.moving import moving
from streams.printing import say
from streams.readiness import Ready


@click.command("broker")
@click.option(
    "--port",
    default=9092,
    show_default=True,
    help="Port for clients on 127.0.0.1; the next one is the controller's.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("kafka-data"),
    show_default=True,
    help="Where the broker keeps its log; found again on the next start.",
)
@click.option(
    "--partitions",
    default=topology.PARTITIONS_DEFAULT,
    show_default=True,
    help="Partitions of the topics that follow devices; fixed for their life.",
)
@click.option(
    "--nodes",
    default=1,
    show_default=True,
    help="Nodes of the Kafka, each on two ports more; of three or more, any one can be lost.",
)
@stays
def command(
    port: int, directory: Path, partitions: int, nodes: int, ready_fd: int | None, ready_file: Path | None
) -> None:
    """Run an embedded Apache Kafka in the foreground; Ctrl-C stops it.

    The first run fetches it from Maven Central (44 MB); later ones need no network.
    """
    node: EmbeddedBroker | EmbeddedCluster = EmbeddedBroker() if nodes == 1 else EmbeddedCluster(nodes)
    prefix = topic_prefix()
    ready = Ready(ready_fd, ready_file)
    # Both signals end the command in the same way, even while it fetches or starts, so that no Kafka keeps
    # running.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with moving("starting Apache Kafka") as show:
            node.start(directory, port, lambda sentence: say(sentence, err=True))
            show("declaring the topics")
            asyncio.run(declare(replace(node.kafka, topic_prefix=prefix), partitions))
        say(f"Apache Kafka answers at {node.kafka}; its log is in {directory}. Ctrl-C stops it.")
        ready.say()
        node.wait()
        raise UnavailableError(
            f"Apache Kafka ended by itself. Look into kafka.log below {directory}, then start it again."
        )
    except KeyboardInterrupt:
        say("stopped", err=True)
    finally:
        node.stop()
        ready.close()
        signal.signal(signal.SIGTERM, former)
