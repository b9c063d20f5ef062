"""From records of `glasses.lineage` to rows that may be stored: decoded, checked, held against the store."""
