-- Kind of every stream.
SELECT source, stream, kind, captured FROM streams ORDER BY ALL
