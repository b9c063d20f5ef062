"""The broker side: embedded broker, topics, transactional transport, group-less reading."""
