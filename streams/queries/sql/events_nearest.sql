-- The event of a stream whose number is nearest, of the classes that are shown.
SELECT "first" + step * nth AS number, revision
FROM (SELECT *, round(greatest(0, least("count" - 1, ($number - "first") / step)))::BIGINT AS nth
    FROM read_parquet($files)
    WHERE source = $source AND stream = $stream
        AND list_contains($shown, concat_ws(' ', policy_version, zone, label, wearer)))
ORDER BY abs("first" + step * nth - $number), abs(revision - $revision), number LIMIT 1
