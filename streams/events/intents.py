"""What a query or feedback can mean: names of intents, and the ones that hold where a policy lists none."""

from __future__ import annotations

import re

#: What an intent may be called.
INTENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Intents of the licensed utterances that every model begins with (`streams/training/seed.csv`).
SEED_INTENTS: tuple[str, ...] = (
    "alarm_query",
    "alarm_set",
    "calendar_query",
    "calendar_remove",
    "calendar_set",
    "datetime_query",
    "general_commandstop",
    "general_negate",
    "general_praise",
    "general_repeat",
    "iot_hue_lightoff",
    "lists_createoradd",
    "music_query",
    "play_music",
    "transport_taxi",
    "weather_query",
)
