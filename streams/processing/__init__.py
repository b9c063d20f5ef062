"""STAGE 2: operators that derive events from sensor data; `shipped.py` lists those of Sightline."""
