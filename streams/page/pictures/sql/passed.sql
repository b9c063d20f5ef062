-- What passed, what was stopped, and what passed although a rule refused it, because its zone only logs.
SELECT coalesce(sum("count"), 0)::BIGINT AS decided, count(DISTINCT sink) AS sinks,
    coalesce(sum("count") FILTER (WHERE NOT passed), 0)::BIGINT AS stopped,
    coalesce(sum("count") FILTER (WHERE passed AND verdict <> 'allow'), 0)::BIGINT AS passed_refused
FROM decisions WHERE coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) >= $since_ns
