-- What the zones and labels of each stream's events are, and whose.
SELECT DISTINCT source, stream, zone, label, policy_version, wearer FROM events
