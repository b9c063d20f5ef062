-- Where each kind of event went.
SELECT stream, sink, purpose, sum("count") FILTER (WHERE passed)::BIGINT AS passed,
    sum("count") FILTER (WHERE NOT passed)::BIGINT AS stopped
FROM decisions GROUP BY stream, sink, purpose ORDER BY stream, sink, purpose
