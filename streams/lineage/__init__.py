"""LIBRARY: lineage rows from a `Step`, the columnar form in which they are sent, and the tables of rows."""
