-- How much each policy decided.
SELECT policy_version, sum("count")::BIGINT AS events FROM decisions GROUP BY policy_version
