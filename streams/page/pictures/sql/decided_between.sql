-- When the first and the last decision was made.
SELECT strftime(make_timestamp(min(decided_ns) // 1000), '%Y-%m-%d %H:%M:%SZ') AS since,
    strftime(make_timestamp(max(decided_ns) // 1000), '%Y-%m-%d %H:%M:%SZ') AS until
FROM (SELECT coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) AS decided_ns FROM decisions)
