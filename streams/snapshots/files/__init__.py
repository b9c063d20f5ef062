"""Immutable files of a store, segments and indexes, and how they are written and read."""
