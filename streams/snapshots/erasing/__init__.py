"""Erasures: what a wearer captured up to a time, and what was derived from it, leaves the store."""
