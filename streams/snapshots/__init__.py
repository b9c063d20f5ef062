"""STAGE 6: lineage rows into epochs: a hot file with offsets, immutable Parquet segments, one small catalog per epoch."""
