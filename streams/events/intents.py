"""Intents: what a wearer wants with a query. Their form, and the list that applies if a policy has none."""

from __future__ import annotations

import re

#: Form of an intent's name.
INTENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Intents of the licensed utterances that every model is first trained on (`streams/training/seed.csv`).
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
