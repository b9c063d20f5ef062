-- Policies that decided.
SELECT DISTINCT name, version FROM policies WHERE version IN (SELECT policy_version FROM decisions) ORDER BY ALL
