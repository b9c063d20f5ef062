-- How many rows a comparison of policies goes through.
SELECT (SELECT count(*) FROM decisions) + (SELECT count(*) FROM edges)
