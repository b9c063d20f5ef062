"""What the loop is worth, measured on shipped utterances that no version learns from."""
