-- Since when each device has had events of a wearer, and examples; 0: it has none.
SELECT source, policy_version, zone, label, wearer, min(appended_ns) AS since_ns,
    coalesce(min(appended_ns) FILTER (kind = 'example'), 0) AS example_ns FROM events WHERE wearer = $wearer GROUP BY ALL
