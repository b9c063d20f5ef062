"""Answers of the store as values to draw: what becomes a box, an arrow, a row or a field, and its link."""
