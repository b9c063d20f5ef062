"""`python -m streams.cli` is `sightline`."""

from streams.cli.main import main

main(prog_name="sightline")
