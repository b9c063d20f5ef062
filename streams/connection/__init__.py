"""How every client reaches a Kafka: which one is meant, as whom, and why it does not take a client."""
