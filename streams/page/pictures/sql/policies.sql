-- Policies, the oldest first.
SELECT version, name, text, epoch, strftime(published AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS published
FROM policies ORDER BY epoch, published_ns, version
