"""LIBRARY: label lattice, zones, flow decisions and the vocabulary they use.

The policies themselves are data, in `policies/`.
"""
