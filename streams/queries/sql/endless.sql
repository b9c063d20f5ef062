-- Rows that retention concerns by their class, whatever a role is shown: which of these classes have no end is up to the policies.
SELECT policy_version, zone, label, sum(events)::BIGINT AS events, sum(held)::BIGINT AS held FROM (
    SELECT policy_version, zone, label, sum("count") AS events, count(*) AS held FROM events WHERE source <> 'training' GROUP BY ALL
    UNION ALL SELECT policy_version, zone, label, 0, count(*) FROM decisions WHERE source <> 'training' GROUP BY ALL
    UNION ALL SELECT policy_version, zone, '', 0, count(*) FROM rejected WHERE source <> 'training' GROUP BY ALL)
GROUP BY policy_version, zone, label ORDER BY policy_version, zone, label
