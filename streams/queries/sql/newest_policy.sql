-- The policy that tagged last, of what is shown.
SELECT version, name FROM policies WHERE version = (SELECT policy_version FROM events ORDER BY appended_ns DESC, epoch DESC, policy_version LIMIT 1)
