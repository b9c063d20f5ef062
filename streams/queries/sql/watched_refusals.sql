-- What was kept from a sink, by epoch and rule.
SELECT policy_version, zone, label, wearer, epoch, sink, verdict, CASE WHEN starts_with(rule, 'consent:') THEN 'consent' ELSE rule END AS said_by,
    sum("count")::BIGINT AS events, max(id) AS id
FROM decisions WHERE NOT passed AND epoch > $since GROUP BY ALL ORDER BY epoch, id
