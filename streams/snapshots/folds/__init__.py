"""Folds: merge many files into few, in a thread of their own while epochs are published."""
