-- Model versions with the day by which another one has to be fitted.
SELECT source || '/' || stream || '/' || version AS model, policy_version, zone, label, retrain_by_ns // 86400000000000 AS day FROM models ORDER BY version
