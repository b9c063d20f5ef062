"""Folds: many files become few, in a thread beside the publishing."""
