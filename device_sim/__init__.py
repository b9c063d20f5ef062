"""THE GLASSES: play recordings through a scenario as batches of devices, and keep a journal with truth."""
