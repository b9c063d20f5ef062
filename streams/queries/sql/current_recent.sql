-- What the epochs added that were published after a time, by topic and class.
SELECT policy_version, zone, label, wearer, topic, count(*) AS batches, sum("count")::BIGINT AS events,
    max(t_last_ns) AS t_last_ns
FROM events WHERE epoch IN (SELECT epoch FROM epochs WHERE published_ns > $since_ns)
GROUP BY policy_version, zone, label, wearer, topic
