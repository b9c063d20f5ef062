-- When training first admitted an example of a wearer.
SELECT policy_version, zone, label, wearer, min(coalesce(nullif(at_ns, 0), appended_ns)) AS since_ns FROM decisions
WHERE sink = 'training-run' AND passed AND wearer = $wearer GROUP BY ALL
