"""LIBRARY: every place in the code that moves data in or out of a process, and where its lineage stands.

A *site* is a call in the code that moves data: `path:function:call`. An *operation* is what some sites do
with data of events, such as "writer writes segments": what it writes, from which reads, and which rows say
so. `OPERATIONS` declares all of them, and `WITHOUT_EVENTS` declares the sites that move no data of events,
each with the reason. `tests/recorder` reads the code and fails on a site that is not declared, and on a
declaration whose site is gone.

Nothing here runs while events are processed. The declarations stand in every catalog as `io_coverage`, and
the view `io_counts` has how much was recorded of them.
"""

from __future__ import annotations

from streams.recorder.operation import Operation, linked
from streams.recorder.operations import OPERATIONS
from streams.recorder.without import WITHOUT_EVENTS

__all__ = ["OPERATIONS", "WITHOUT_EVENTS", "Operation", "linked"]
