"""Bars of wearers' rights: withdrawals, refits, whole erasures, and what sealing costs."""
