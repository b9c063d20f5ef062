-- From which zone data went into which sink, with the first event that did, and in which epoch.
SELECT policy_version, zone, label, wearer, sink, min(epoch) AS epoch, arg_min(id, (epoch, id)) AS id, sum("count")::BIGINT AS events
FROM decisions WHERE passed AND epoch > $after GROUP BY policy_version, zone, label, wearer, sink ORDER BY epoch, id, sink
