"""An extension whose operators are none."""

OPERATORS = ["an operator"]
