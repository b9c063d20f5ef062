"""STAGE 4: feedback + answer -> example."""
