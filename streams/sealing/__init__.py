"""What is kept for long is sealed under keys that can be destroyed; see docs/architecture.md, Transport."""
