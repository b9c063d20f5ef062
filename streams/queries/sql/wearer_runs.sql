-- Runs of events of a wearer, by what a role is shown them by.
SELECT source, stream, revision, policy_version, zone, label, wearer, list("first") AS firsts, list(step) AS steps, list("count") AS counts
FROM events WHERE wearer = $wearer GROUP BY ALL
