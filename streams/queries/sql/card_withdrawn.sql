-- Returns to an earlier model version after an erasure, with the versions that it withdrew, oldest first.
SELECT value, t_ns FROM inputs WHERE kind = 'model-rollback' AND contains(value, '"erasure":true') ORDER BY t_ns
