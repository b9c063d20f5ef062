-- The newest record of each device that was not taken, in the order of its log.
SELECT policy_version, zone, '' AS label, wearer, source, max(epoch) AS epoch, max("offset") AS "offset", '' AS kind, '' AS id
FROM rejected WHERE topic = 'glasses.captured' AND source <> '' AND epoch > $since GROUP BY policy_version, zone, wearer, source ORDER BY source, "offset"
