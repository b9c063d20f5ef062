"""The `sightline` command: one file per command."""
