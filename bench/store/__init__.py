"""The store under load: grown from a demo's rows, asked, published into, measured, and beside its peers."""
