"""Benchmarks: Sightline compared with the alternatives that a Python user would choose.

Throughput of each is measured in the same run on the same machine.
"""
