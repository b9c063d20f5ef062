"""From records of `glasses.lineage` to rows that may be stored: decoded, checked, compared with the store."""
