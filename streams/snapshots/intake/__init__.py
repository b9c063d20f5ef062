"""Turn records of `glasses.lineage` into rows to store: decode, check, and compare with the store."""
