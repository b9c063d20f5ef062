"""LIBRARY: what travels: records, batches, kinds, identity, runs, codec, journal."""
