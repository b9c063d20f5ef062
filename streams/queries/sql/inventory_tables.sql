-- What the catalog says of itself.
SELECT view_name AS name, coalesce(comment, '') AS says, column_count FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'
UNION ALL SELECT table_name, coalesce(comment, ''), column_count FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main' ORDER BY name
