"""LIBRARY: features, prediction, codec and digest of the intent model: what assistant and training share."""
