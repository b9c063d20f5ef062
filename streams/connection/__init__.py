"""How every client connects to a Kafka: address, identity, and why a broker refuses a client."""
