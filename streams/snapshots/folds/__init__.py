"""Many files become few, beside the publishing."""
