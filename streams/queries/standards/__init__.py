"""Lineage in forms that other tools read: OpenLineage, W3C PROV and GraphML, of what a role may take out."""
