-- Operations that move data of events, whether each is linked to what it reads or writes, and what was recorded of it.
SELECT operation, direction, asset, done_by, linked, recorded_in, sites, observed, reason FROM io_coverage ORDER BY linked, direction DESC, operation
