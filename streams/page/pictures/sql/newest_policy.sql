-- The policy that came last.
SELECT version, text FROM policies WHERE text IS NOT NULL ORDER BY epoch DESC, published_ns DESC, version LIMIT 1
