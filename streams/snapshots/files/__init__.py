"""Immutable files of a store: segments, indexes, and how rows get into them and out of them."""
