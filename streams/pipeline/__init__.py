"""Stages 1-5 composed, without Kafka, clock or randomness: one pure call a fetch (law 7).

Agent `glasses` runs stages 1-4, agent `training` stage 5. What enters by wall-clock chance and changes
results (which model serves, which policy is in force, what wearers say on other partitions, in which order
the examples of all partitions reach training) is handed in as side inputs, taken up between fetches, kept in
the state where it lasts, and recorded as an input. `live` and `followed` are the shell that a worker puts
around it.
"""
