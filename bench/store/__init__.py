"""The store under load: grown from a demo's rows, queried, written to, measured, compared with peers."""
