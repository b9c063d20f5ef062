-- What passed for some purposes by a consent of a wearer that permitted them, between two times of the broker: how much, when last, and what.
SELECT sum("count")::BIGINT AS events, max(heard_ns) AS last_ns, arg_max(id, heard_ns) AS id
FROM (SELECT id, "count", consent_state, purpose, coalesce(nullif(at_ns, 0), appended_ns) AS heard_ns FROM decisions
    WHERE passed AND wearer = $wearer AND list_contains($devices, source) AND list_contains($purposes, purpose) AND starts_with(consent_state, 'given'))
WHERE heard_ns > $after AND heard_ns < $before AND list_contains(string_split(consent_state, ' '), purpose)
