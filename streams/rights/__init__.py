"""What wearers have a right to, and how it is proved; see docs/rights.md."""
