"""How long a test waits for something that must happen."""

#: So long that only a hang takes longer, however busy the machine is: a guard, not a claim about speed.
PATIENCE_S = 300.0
