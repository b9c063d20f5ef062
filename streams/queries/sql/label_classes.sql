-- Labels of events, by the policy that gave them.
SELECT DISTINCT policy_version, label FROM zone_runs WHERE label <> ''
