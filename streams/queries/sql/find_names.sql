-- Names that `find` can ask for.
SELECT DISTINCT zone, kind, wearer FROM events
