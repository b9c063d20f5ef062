-- Data that came under numbers which other data have, once for each data: they are missing.
SELECT source, stream, "first", "count" FROM (
    SELECT DISTINCT source, stream, "first", "count", digest FROM rejected
    WHERE "count" > 0 AND rule = 'collision' AND topic = 'glasses.captured' AND stage = 'zones')
ORDER BY ALL
