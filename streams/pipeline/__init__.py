"""Stages 1-5 composed, without Kafka, clock or randomness: one pure call per fetch (law 7).

Agent `glasses` runs stages 1-4, agent `training` stage 5. Some inputs depend on timing and change results:
which model serves, which policy is in force, what wearers said on other partitions, and in which order the
examples of all partitions reach training. They are passed as side inputs, taken up between fetches, kept in
the state as long as they apply, and recorded as inputs. `live` and `followed` are the shell that a worker
puts around the cores.
"""
