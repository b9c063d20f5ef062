-- What was decided, in classes that a requirement can tell apart, and how much of it within a day of the latest decision.
WITH timed AS (SELECT *, coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) AS decided_ns FROM decisions)
SELECT hash(policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode) AS class, policy_version, attributes, zone, label, sink,
    purpose, verdict, passed, mode, max(decided_ns) AS latest_ns, sum("count")::BIGINT AS events,
    coalesce(sum("count") FILTER (decided_ns > (SELECT max(decided_ns) FROM timed) - 86400000000000), 0)::BIGINT AS last_day
FROM timed GROUP BY ALL ORDER BY ALL
