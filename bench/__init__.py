"""Benchmarks: Sightline beside what a Python user would pick instead.

What each does in a second, in one run on one machine.
"""
