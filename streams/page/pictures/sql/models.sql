-- Versions of models, oldest first.
SELECT source, stream, version, source || '/' || stream || '/' || version AS id, zone, accuracy, examples, wearers,
    strftime(trained AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%SZ') AS trained
FROM models ORDER BY source, stream, version
