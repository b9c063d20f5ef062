"""The two Faust apps, one agent each; every fetch is one pure call and one transaction.

See `streams.kafka.transport`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import faust
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials

from streams import limits, logs, topology
from streams.connection.credentials import TokenFile, password, tls_context
from streams.ends import NOTHING_LOST, End, end_process
from streams.errors import reason
from streams.events.record import AgentSpec
from streams.kafka.ownership import Delivery
from streams.kafka.transport import batch_transport
from streams.settings.kafka import OAUTH, Broker, KafkaSettings


def build_app(
    spec: AgentSpec,
    broker: Broker,
    datadir: Path,
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    prefix: str = "",
    partitions: int = topology.PARTITIONS_DEFAULT,
    accept_loss: bool = False,
) -> faust.App:
    """Build the Faust app of one agent.

    Delivery: exactly once from the agent's source topic to everything that its core writes.

    Parameters
    ----------
    spec
        The agent: its name, the topic that it reads, and what it does with a fetch.
    broker
        The Kafka; its topics must be declared.
    datadir
        An empty directory for Faust; nothing in it is needed again.
    loop
        Event loop that the app runs in; the running one if None.
    prefix
        Prefix of the names of consumer groups.
    partitions
        Partition count of the topics that are partitioned by device.
    accept_loss
        Skip records that were deleted before they were read, and record the loss.
    """
    agent_name, source_name = spec.name, spec.topic
    kafka = KafkaSettings.of(broker)
    app = faust.App(
        topology.group(agent_name, prefix),
        broker=kafka.urls,
        broker_credentials=_credentials(kafka),
        loop=loop or asyncio.get_running_loop(),
        datadir=str(datadir),
        autodiscover=False,
        broker_client_id=f"{kafka.client_id}-{agent_name}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=limits.SESSION_TIMEOUT_S,
        broker_heartbeat_interval=limits.HEARTBEAT_INTERVAL_S,
        broker_rebalance_timeout=limits.REBALANCE_TIMEOUT_S,
        broker_max_poll_records=limits.FETCH_RECORDS_MAX,
        # An offset out of range must be an error. For a partition without a commit, the owner seeks to the
        # beginning itself.
        consumer_auto_offset_reset="none",
        consumer_max_fetch_size=limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES,
        stream_wait_empty=False,
        worker_redirect_stdouts=False,
    )
    app.transport = batch_transport(
        app,
        kafka,
        agent_name,
        spec.core,
        partitions=topology.partition_count(source_name, partitions),
        accept_loss=accept_loss,
    )
    source = app.topic(
        kafka.wire_name(source_name),
        key_serializer="raw",
        value_serializer="raw",
        value_type=bytes,
        acks=False,
    )

    async def work(stream: Any) -> None:
        async for event in stream.events():
            delivery: Delivery = event.message.value
            try:
                with logs.at(agent_name, delivery.fetch.partition):
                    await delivery.process()
            except Exception as error:  # noqa: BLE001  Faust would acknowledge the event and go on to the next
                fetch = delivery.fetch
                place = (
                    f"{fetch.topic} partition {fetch.partition}, offsets {fetch.records[0].offset} to "
                    f"{fetch.next_offset - 1}"
                )
                end_process(
                    f"Agent {agent_name} failed on {place}: {reason(error)}; {NOTHING_LOST}", error, End.FETCH
                )

    app.agent(source, name=f"streams.worker.agents.{agent_name}", isolated_partitions=True)(work)
    app.finalize()
    return app


def _credentials(kafka: KafkaSettings) -> Credentials | None:
    """Credentials for Faust's clients, always with a TLS context: without one Faust would not encrypt."""
    if not kafka.encrypted:
        return None
    context = tls_context(kafka)
    if kafka.mechanism == OAUTH and kafka.token_file is not None:
        return OAuthCredentials(oauth_cb=TokenFile(kafka.token_file), ssl_context=context)
    if kafka.mechanism:
        return SASLCredentials(
            username=kafka.user, password=password(kafka), mechanism=kafka.mechanism, ssl_context=context
        )
    return SSLCredentials(context)
