-- Events by the day (of UTC since 1970) after which they may not be used any more, by zone.
SELECT e.policy_version, e.zone, e.label, e.wearer,
    coalesce(nullif(e.appended_ns, 0), e.t_last_ns) // 86400000000000 + l.retention_days AS day, l.retention_days, sum(e."count")::BIGINT AS events
FROM events e JOIN labels l USING (policy_version, label) WHERE l.retention_days IS NOT NULL AND e.source <> 'training' GROUP BY ALL ORDER BY ALL
