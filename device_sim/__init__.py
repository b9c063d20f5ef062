"""THE GLASSES: plays recordings as device batches through a scenario.

It keeps a journal of what it sent and of the truth.
"""
