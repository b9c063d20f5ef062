-- The policies that decided about what is shown, in the order in which they came into force.
SELECT version, min(name), min(published_ns)::BIGINT FROM policies
WHERE version IN (SELECT policy_version FROM decisions) GROUP BY version ORDER BY min(epoch), min(published_ns), version
