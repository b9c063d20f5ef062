"""What a training run is made from as a whole, and whether the policy permits it.

The gate decides about single examples (`streams.training.gate`). The assets of a run are what no single
example tells: the licensed files and their licences, the streams, and the code that makes a version of them.
If the policy does not permit a licence or the build, the run is refused as a whole, with the rule. Examples
of a stream that it does not permit are refused one by one (`streams.training.run`): any device can send one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from streams.events.digest import digest
from streams.policy.rules import AssetKind, TrainingAssets
from streams.training.gate import Candidate
from streams.training.seed import Examples, Licensed

#: What the code that makes a version depends on: its rooms, and libraries that compute.
_ROOMS, _LIBRARIES = ("models", "training"), ("numpy", "scikit-learn", "scipy")
_SETTINGS = "limits.py"  #: what versions and splits depend on besides


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of a run; `rule` is the rule of the policy that does not permit it, empty if it is permitted.

    `digest` and `licence` (an SPDX name) are empty where there is none: a stream has neither, because its
    examples have labels and digests of their own.
    """

    kind: AssetKind
    name: str
    licence: str
    digest: str
    examples: int
    rule: str = ""


def assets_of(licensed: Licensed, learned: Sequence[Candidate], permitted: TrainingAssets) -> list[Asset]:
    """Assets of a run that learns from the licensed examples and from those that were `learned`.

    Streams are named without the incarnation of their device.
    """
    streams = Counter(candidate.tagged.batch.stream.partition("~")[0] for candidate in learned)
    return [
        *(
            Asset(
                kind,
                f"{kind}.csv",
                some.licence,
                some.digest,
                len(some.pairs),
                _rule("licences", some.licence, permitted.licences),
            )
            for kind, some in _files(licensed)
        ),
        *(Asset("stream", stream, "", "", count) for stream, count in sorted(streams.items())),
        Asset(
            "build",
            f"sightline {version('sightline')}",
            "Apache-2.0",
            build(),
            0,
            _rule("builds", build(), permitted.builds),
        ),
    ]


def refused(assets: Sequence[Asset]) -> str:
    """Why a run with these assets is refused, as a sentence; empty if all are permitted."""
    return "; ".join(f"{asset.kind} {asset.name}: {asset.rule}" for asset in assets if asset.rule)


@cache
def build() -> str:
    """Digest of the code that makes a version: of the sources of its rooms and the versions of its libraries.

    Two processes with the same one make the same version of the same manifest.
    """
    root = Path(__file__).parents[1]
    parts = [f"{name} {version(name)}".encode() for name in _LIBRARIES]
    sources = [root / _SETTINGS, *(path for room in _ROOMS for path in sorted((root / room).glob("*.py")))]
    parts += [f"{path.relative_to(root)} {digest(path.read_bytes())}".encode() for path in sources]
    return digest(b"\n".join(parts))


def _files(licensed: Licensed) -> Sequence[tuple[AssetKind, Examples]]:
    return (("seed", licensed.seed), ("validation", licensed.validation))


def _rule(listed: str, name: str, permitted: Sequence[str] | None) -> str:
    if permitted is None or name in permitted:
        return ""
    return f"training_assets.{listed}: {name or 'no name'} is none of {', '.join(permitted) or 'nothing'}"
