-- When the first and the last decision was made.
SELECT strftime(make_timestamp(min(decided_ns) // 1000), '%Y-%m-%d %H:%M:%SZ') AS since,
    strftime(make_timestamp(max(decided_ns) // 1000), '%Y-%m-%d %H:%M:%SZ') AS until,
    min(decided_ns) AS since_ns, max(decided_ns) AS until_ns
FROM (SELECT coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) AS decided_ns FROM decisions)
WHERE decided_ns >= $since_ns
