"""What is in force: the hot file, the rows that wait, the catalog of each epoch."""
