-- How many epochs were published, and when the first and the last.
SELECT count(*) AS epochs, strftime(min(published) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS since,
    strftime(max(published) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS until
FROM epochs
