"""STAGE 6: lineage rows into epochs.

A store is a hot file with offsets, immutable Parquet segments, one small catalog per epoch.
"""
