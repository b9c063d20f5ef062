"""Numbers that a process counts and measures, for Prometheus; `declared.py` has all names.

They begin with zero when the process starts, as Prometheus expects of counters. Only what makes text of them
loads the Prometheus client (`streams/metrics/exposition.py`), so a process that shows them to nobody does not
pay for it.
"""

from __future__ import annotations

from streams.metrics.declared import DECLARED
from streams.metrics.numbers import Numbers, Tally

#: The numbers of this process.
PROCESS = Numbers()
count, gauge, highest, observe = PROCESS.count, PROCESS.gauge, PROCESS.highest, PROCESS.observe
add, forget, read = PROCESS.add, PROCESS.forget, PROCESS.read
begin, before_reading = PROCESS.begin, PROCESS.before_reading

__all__ = [
    "DECLARED",
    "PROCESS",
    "Numbers",
    "Tally",
    "add",
    "before_reading",
    "begin",
    "count",
    "forget",
    "gauge",
    "highest",
    "observe",
    "read",
]
