"""LIBRARY: label lattice, zones, flow decisions and the vocabulary they use.

Policies are data in `policies/`.
"""
