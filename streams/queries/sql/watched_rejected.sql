-- What was not taken, or not made, by epoch and rule. A record whose numbers nobody could read counts as one event.
SELECT policy_version, zone, wearer, epoch, stage, outcome, CASE WHEN starts_with(rule, 'consent:') THEN 'consent' ELSE rule END AS said_by,
    sum(greatest("count", 1))::BIGINT AS events, coalesce(max(source || '/' || stream || '/' || "first") FILTER ("count" > 0), '') AS id
FROM rejected WHERE outcome <> 'repeated' AND epoch > $since GROUP BY ALL ORDER BY epoch, id
