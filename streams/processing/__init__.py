"""STAGE 2: operators that make something of the sensors; `shipped.py` lists ours."""
