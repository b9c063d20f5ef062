-- What the zones and labels of each stream's events, and of what was refused of it, are, and whose.
SELECT DISTINCT 'events' AS table_name, source, stream, zone, label, policy_version, wearer FROM zone_runs
UNION ALL
SELECT DISTINCT 'rejected', source, stream, zone, '', policy_version, wearer FROM rejected
WHERE "count" > 0 AND outcome NOT IN ('repeated', 'malformed')
