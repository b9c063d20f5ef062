"""How long a test waits for what must come."""

#: So long that only what hangs takes longer, however busy the machine is: a guard, and no claim about speed.
PATIENCE_S = 120.0
