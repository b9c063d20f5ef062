"""STAGE 2: operators that make something of the sensors; `operators.py` lists them."""
