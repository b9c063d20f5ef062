"""A sightline-label in words; `text` is that of the policy before its colon, as `glasses.policies` has it."""

import re
import struct
import tomllib

MASKS = ("categories", "purposes", "obligations", "subjects", "regions")


def words(label: str, text: str) -> dict[str, list[str] | int]:
    """The words of a label by list, and the days that what bears it may be kept."""
    files = [tomllib.loads(file) for file in re.split(r"^#=== file .+\n", text, flags=re.MULTILINE)]
    lists = [file["vocabulary"] for file in files if "vocabulary" in file]
    known = {name: [word for one in lists for word in one.get(name, ())] for name in MASKS}
    days = [days for one in lists for days in one.get("retention_days", {}).values()]
    *masks, retention, _nature = struct.unpack("<QHHBBBB", bytes.fromhex(label.partition(":")[2]))
    says = zip(MASKS, masks, strict=True)
    return {name: [w for bit, w in enumerate(known[name]) if mask >> bit & 1] for name, mask in says} | {
        "retention_days": days[retention]
    }
