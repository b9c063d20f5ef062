"""Sightline: policy zones and lineage for every event of AI glasses. Start with :mod:`streams.topology`."""
