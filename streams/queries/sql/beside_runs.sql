-- Runs of what was derived of some devices for others than a wearer, of each from a time of its own on.
SELECT source, stream, revision, kind, policy_version, zone, label, wearer, min(appended_ns) AS since_ns,
    list("first") AS firsts, list(step) AS steps, list("count") AS counts
FROM events JOIN streams USING (source, stream, kind) JOIN (SELECT unnest($sources) AS source, unnest($since) AS worn_ns) USING (source)
WHERE wearer <> $wearer AND NOT captured AND appended_ns >= worn_ns GROUP BY ALL
