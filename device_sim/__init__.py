"""THE GLASSES: plays recordings as device batches through a scenario, keeps a journal of what it sent and the truth."""
