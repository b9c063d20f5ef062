-- What wearers said about the use of their data, as agents took it up.
SELECT value FROM inputs WHERE kind = 'consent-takeup' AND epoch > $after ORDER BY epoch
