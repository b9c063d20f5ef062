"""STAGE 1: tag each event with its zone."""
