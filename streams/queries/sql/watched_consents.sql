-- What passed because its wearer had consented to the sink's purpose, by epoch and spans of ten seconds of the broker's time.
SELECT policy_version, zone, label, wearer, purpose, epoch, max(at_ns) AS at_ns, arg_max(id, at_ns) AS id, sum("count")::BIGINT AS events
FROM (SELECT * REPLACE (coalesce(nullif(at_ns, 0), appended_ns) AS at_ns) FROM decisions
    WHERE passed AND wearer <> '' AND starts_with(consent_state, 'given') AND list_contains(string_split(consent_state, ' '), purpose) AND epoch > $since)
GROUP BY policy_version, zone, label, wearer, purpose, epoch, at_ns // 10_000_000_000 ORDER BY epoch, at_ns
