-- Data that came under numbers which other data have, once for each data: they are missing.
SELECT source, stream, "first", "count", any_value(policy_version) AS policy_version, any_value(zone) AS zone,
    any_value(wearer) AS wearer
FROM rejected WHERE "count" > 0 AND outcome = 'collision' AND topic = 'glasses.captured' AND stage = 'zones'
GROUP BY source, stream, "first", "count", digest
ORDER BY ALL
