-- The policy that came into the store last. Every role is shown all policies.
SELECT version, text FROM policies WHERE text IS NOT NULL ORDER BY epoch DESC, published_ns DESC, version LIMIT 1
