-- In which zones data of each wearer was captured, by span: 120 equal spans of all of that wearer's time (SPANS in held.py).
WITH bounds AS (
    SELECT wearer, min(t_first_ns) AS since_ns, max(t_last_ns) + 1 AS until_ns FROM events WHERE wearer <> '' GROUP BY wearer
), stays AS (
    SELECT DISTINCT wearer, zone, since_ns, until_ns,
        unnest(range(((t_first_ns - since_ns)::HUGEINT * 120 // (until_ns - since_ns))::BIGINT,
            ((t_last_ns - since_ns)::HUGEINT * 120 // (until_ns - since_ns))::BIGINT + 1)) AS nth
    FROM events JOIN bounds USING (wearer)
)
SELECT wearer, zone, nth AS span, since_ns, until_ns FROM stays ORDER BY ALL
