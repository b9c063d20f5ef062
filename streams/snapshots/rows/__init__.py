"""Rows of lineage tables as they come in: what a poll returned, and what each column may hold."""
