-- The newest version of each model, and until when it is to be trained again.
SELECT policy_version, zone, label, source || '/' || stream || '/' || version AS id, source || '/' || stream AS model, retrain_by_ns
FROM models WHERE epoch > $after QUALIFY row_number() OVER (PARTITION BY source, stream ORDER BY version DESC) = 1 ORDER BY model
