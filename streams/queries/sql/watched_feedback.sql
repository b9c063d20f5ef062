-- How much feedback came, by epoch.
SELECT policy_version, zone, label, wearer, epoch, sum("count")::BIGINT AS events
FROM events WHERE topic = 'glasses.captured' AND kind = 'feedback' AND epoch > $since GROUP BY policy_version, zone, label, wearer, epoch ORDER BY epoch
