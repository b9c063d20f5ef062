"""The operators that come with Sightline, in the order in which they run."""

from __future__ import annotations

from streams.events.shipped import SHIPPED
from streams.processing.activity import ACTIVITY
from streams.processing.fixation import FIXATION
from streams.processing.operators import Operators
from streams.processing.place import PLACE
from streams.processing.speech import SPEECH

SHIPPED_OPERATORS = Operators.of(SHIPPED, ACTIVITY, FIXATION, SPEECH, PLACE)
