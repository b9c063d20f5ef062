"""The only reader of a store: one published epoch, opened read-only, asked in SQL or by question."""
