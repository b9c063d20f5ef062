"""LIBRARY: label lattice, zones, flow decisions and the vocabulary they use; policies are data in `policies/`."""
