-- Runs of what was derived of some devices from a time on, each with its own time.
SELECT source, stream, revision, kind, policy_version, zone, label, wearer, min(appended_ns) AS since_ns,
    list("first") AS firsts, list(step) AS steps, list("count") AS counts
FROM events JOIN streams USING (source, stream, kind) JOIN (SELECT unnest($sources) AS source, unnest($since) AS worn_ns) USING (source)
WHERE NOT captured AND appended_ns >= worn_ns GROUP BY ALL
