-- Erasure requests: those that passed, with capture and append time, and those that were refused, with the rule.
SELECT source, stream, "first" + step * unnest(range("count")) AS number, wearer, t_first_ns AS t_ns,
    coalesce(nullif(appended_ns, 0), t_last_ns) AS asked_ns, '' AS rule,
    "partition", "offset"
FROM events WHERE kind = 'erasure_request'
UNION ALL
SELECT source, stream, "first", '', t_ns, t_ns, rule, "partition", "offset"
FROM rejected WHERE regexp_matches(stream, '^erasure-request(~[0-9]+)?$') AND stage = 'zones' AND outcome <> 'repeated'
ORDER BY asked_ns, source, number
