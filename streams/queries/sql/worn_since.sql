-- Since when each device has had events of a wearer.
SELECT source, policy_version, zone, label, wearer, min(appended_ns) AS since_ns FROM events WHERE wearer = $wearer GROUP BY ALL
