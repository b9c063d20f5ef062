"""The broker side: embedded broker, topics, transactional transport, group-less reading."""

from streams.kafka import tolerant

tolerant.install()
