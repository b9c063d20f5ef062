-- What passed and what was stopped, by zone.
SELECT zone, count(DISTINCT nullif(wearer, '')) AS wearers, count(DISTINCT sink) AS sinks,
    coalesce(sum("count") FILTER (WHERE passed), 0)::BIGINT AS passed,
    coalesce(sum("count") FILTER (WHERE passed AND verdict <> 'allow'), 0)::BIGINT AS passed_refused,
    coalesce(sum("count") FILTER (WHERE NOT passed), 0)::BIGINT AS stopped
FROM decisions WHERE coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) >= $since_ns
GROUP BY zone ORDER BY stopped DESC, passed DESC, zone
