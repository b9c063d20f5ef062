-- What passed with a word of a wearer, in classes that are decided alike.
SELECT policy_version, attributes, zone, label, sink, consent_state, min(appended_ns) AS appended_ns, min(at_ns) AS at_ns, verdict, passed, mode, rule,
    purpose, sum("count")::BIGINT AS events
FROM decisions WHERE wearer = $wearer AND passed AND consent_state NOT IN ('', 'none')
GROUP BY ALL ORDER BY ALL
