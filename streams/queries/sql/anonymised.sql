-- Which wearers were at which kind of place in which hour, and which kinds of event they told of themselves there (the nature of
-- their label is `provided`); what devices only observe says that the glasses were there.
SELECT policy_version, zone, wearer, regexp_extract(attributes, '(?:^| )place=([^ ]+)', 1) AS place, t_ns // 3600000000000 AS hour,
    CASE WHEN substr(label, 31, 2) = $provided THEN regexp_extract(attributes, '^kind=([^ ]+)', 1) ELSE '' END AS told
FROM decisions WHERE sink = $sink AND passed AND wearer <> '' AND attributes <> ''
GROUP BY ALL ORDER BY ALL
