"""STAGE 5: gate, manifest, run -> model version."""
