"""STAGE 6: write lineage to the store, and publish it in epochs.

A store consists of a hot file with offsets, immutable Parquet segments, and one small catalog per epoch.
"""
