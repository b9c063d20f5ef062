"""The page in a browser: what the store knows, drawn for a role."""
