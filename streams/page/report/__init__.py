"""A report of a store: one file that says whether anything was where it should not be, and what ran."""
