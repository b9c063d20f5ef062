-- Runs of events of a wearer, with what a role is shown them by.
SELECT source, stream, revision, "first", step, "count", kind, policy_version, zone, label, wearer FROM events WHERE wearer = $wearer
