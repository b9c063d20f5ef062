"""A column of a packed value: numbers, or flags as 1 and 0; NaN where there is none."""

import msgspec
import numpy as np


def column(value: bytes, name: str, held: str) -> np.ndarray:
    """Column `name`, shape (n,); `held` is its packed type, such as f4, and u1 for flags."""
    content = msgspec.msgpack.decode(value)["columns"][name]
    mask, data = content if isinstance(content, list) else (None, content)
    numbers = np.frombuffer(data, f"<{held}").astype("f8")
    if mask is not None:
        numbers[np.unpackbits(np.frombuffer(mask, "u1"), count=len(numbers), bitorder="little") == 0] = np.nan
    return numbers
