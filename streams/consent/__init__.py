"""Consent: what wearers said about the use of their data, how it stands at a place, and how it travels."""
