"""Consent: what wearers said about the use of their data, what is in force, and how words are encoded."""
