-- The newest version of each model in each class, the newest last.
SELECT policy_version, zone, label, source || '/' || stream || '/' || version AS id, accuracy, examples, wearers, trained_ns,
    count(*) OVER (PARTITION BY policy_version, zone, label, source, stream) AS versions
FROM models QUALIFY row_number() OVER (PARTITION BY policy_version, zone, label, source, stream ORDER BY version DESC) = 1
ORDER BY source, stream, version
