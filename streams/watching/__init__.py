"""Alert rules over what the store, the broker and the disk say: which alerts stand, and why."""
