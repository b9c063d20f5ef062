-- Where data went, or was kept from going: from its zone to each sink, by span of time.
SELECT coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) // $every_ns * $every_ns AS t_ns, zone, sink, purpose, verdict, passed,
    count(DISTINCT nullif(wearer, '')) AS wearers, sum("count")::BIGINT AS events
FROM decisions
WHERE coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) BETWEEN $since_ns AND $until_ns AND ($zone = '' OR zone = $zone) AND ($sink = '' OR sink = $sink)
    AND NOT ($refused AND passed)
GROUP BY ALL ORDER BY ALL
