-- Runs of events that were decided about in some classes, the latest first, as many as an answer holds; `runs` are all of them.
SELECT hash(policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode) AS class, source, stream, "first", "count",
    coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) AS t_ns, count(*) OVER () AS runs
FROM decisions WHERE hash(policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode) IN (SELECT unnest($classes))
ORDER BY t_ns DESC, source, stream, "first", class LIMIT $limit
