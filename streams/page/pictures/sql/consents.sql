-- Under which state of which consent data of each wearer was decided about, from when to when it was captured.
SELECT wearer, consent, consent_state, min(t_ns) AS since_ns, max(t_ns) AS until_ns
FROM decisions WHERE wearer <> '' AND consent_state <> '' GROUP BY ALL ORDER BY ALL
