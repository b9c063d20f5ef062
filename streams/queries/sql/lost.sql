-- Records that were removed before they were read: their offsets, and when the one before them was appended.
SELECT topic, "partition", split_part(value, '-', 1)::BIGINT AS "first", nullif(split_part(value, '-', 2), '')::BIGINT AS last, t_ns
FROM inputs WHERE kind = 'lost-records'
ORDER BY topic, "partition", "first"
