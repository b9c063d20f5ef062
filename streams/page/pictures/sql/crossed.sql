-- What went from which zone to which sink, or did not, in 24 equal spans of time (SPANS in crossed.py). A child that a
-- declassifier loosened is told apart from what was allowed as it was.
WITH decided AS (SELECT *, coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) AS decided_ns FROM decisions WHERE decided_ns >= $since_ns),
bounds AS (SELECT min(decided_ns) AS since_ns, max(decided_ns) + 1 AS until_ns FROM decided),
loosened AS (SELECT DISTINCT child_source, child_stream, child_first FROM edges WHERE declassifier <> '')
SELECT ((decided_ns - since_ns)::HUGEINT * 24 // (until_ns - since_ns))::INTEGER AS span, zone, sink,
    CASE WHEN verdict = 'allow' AND (source, stream, "first") IN (SELECT (child_source, child_stream, child_first) FROM loosened)
        THEN 'declassified' ELSE verdict END AS verdict,
    sum("count")::BIGINT AS events
FROM decided, bounds GROUP BY ALL ORDER BY ALL
