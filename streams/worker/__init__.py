"""The worker: both agents in one process, what it reads before they start, and its child processes."""
