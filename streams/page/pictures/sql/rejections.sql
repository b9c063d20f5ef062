-- What was not taken, or not made, by stage and rule, with the first event of the latest.
SELECT stage, outcome, rule, zone, any_value(reason) AS reason, count(*) AS batches, sum("count")::BIGINT AS events,
    arg_max(source || '/' || stream || '/' || "first", t_ns) AS id,
    strftime(max(t) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS latest
FROM rejected WHERE coalesce(nullif(appended_ns, 0), t_ns) >= $since_ns
GROUP BY stage, outcome, rule, zone ORDER BY events DESC, stage, rule, zone LIMIT 1000
