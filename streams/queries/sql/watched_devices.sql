-- The newest event of each device, in the order of its log.
SELECT policy_version, zone, label, wearer, source, max(epoch) AS epoch, max("offset") AS "offset", arg_max(kind, "offset") AS kind,
    arg_max(source || '/' || stream || '/' || "first", "offset") AS id
FROM events WHERE topic = 'glasses.captured' AND epoch > $since GROUP BY policy_version, zone, label, wearer, source ORDER BY source, "offset"
