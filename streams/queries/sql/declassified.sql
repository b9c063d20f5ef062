-- How often each declassifier was used: once for every child that it loosened.
SELECT declassifier, count(DISTINCT (child_source, child_stream, child_revision, child_first)) AS uses FROM edges WHERE declassifier <> '' GROUP BY declassifier
