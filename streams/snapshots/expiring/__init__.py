"""Retention: what is over, by the broker's time and the days of its class, leaves the store."""
