"""The Kafka side: embedded broker, topics, transactional transport, and reading without a consumer group."""

from streams.kafka import tolerant

tolerant.install()
