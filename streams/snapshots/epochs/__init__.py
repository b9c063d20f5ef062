"""The hot file, the rows that wait for an epoch, and the catalog of each epoch."""
