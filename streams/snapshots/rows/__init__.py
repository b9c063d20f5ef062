"""Incoming rows of lineage tables: the rows of a poll, and the values that each column may have."""
