"""LIBRARY: from Steps to lineage rows, the columnar form in which they travel, and the tables they end in."""
