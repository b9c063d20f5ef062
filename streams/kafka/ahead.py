"""An ahead-of-time (AOT) cache for Kafka: with it a start takes half the time and half the CPU.

The Java runtime records which classes a start of Kafka loads and which methods it runs most, and writes a
file that later starts map into memory (JEP 483, 514 and 515). The file is made once per machine, beside the
jars. A runtime checks the file, and starts without it if it is damaged or was made from other jars or by
another runtime.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from streams import files, locking
from streams.errors import InputError, UnavailableError
from streams.kafka.jars import Progress

_CREATE_TIMEOUT_S = 180.0


def options(
    java: Sequence[str],
    jars: Sequence[Path],
    start_once: Callable[[Sequence[str]], None],
    on_progress: Progress,
) -> list[str]:
    """Return the options with which a runtime uses the cache; make the file first if there is none yet.

    The list is empty while another process makes the file. If the file cannot be made, this is reported once
    and an empty file is left, so that later starts go without a cache and do not try again.

    Parameters
    ----------
    java
        Path of the runtime, and the options that every start of it has.
    jars
        The jars of Kafka in the order of the class path, all in one directory; the file is kept there.
    start_once
        Starts a Kafka with the given options and shuts it down cleanly.
    on_progress
        Called with a sentence when the file is about to be made, or cannot be.
    """
    kept = jars[0].parent / f"linked-{_digest(java, jars)}.aot"
    if not kept.exists():
        _make(java, jars, kept, start_once, on_progress)
    if not kept.exists() or not kept.stat().st_size:
        return []
    return [f"-XX:AOTCache={kept}", "-XX:+VerifySharedSpaces"]


def _digest(java: Sequence[str], jars: Sequence[Path]) -> str:
    """Short digest of all that the file depends on: release and options of the runtime, and the jars.

    The path of the runtime is left out, so that environments with the same release share a file. A runtime
    takes a jar for another one if its size or time of modification differs, so these count too.
    """
    release = Path(java[0]).parents[1] / "release"
    told = release.read_bytes() if release.exists() else b""
    stats = [(jar, jar.stat()) for jar in jars]
    named = [f"{jar} {status.st_size} {status.st_mtime_ns}" for jar, status in stats]
    return hashlib.sha256(b"\n".join([told, *map(str.encode, (*java[1:], *named))])).hexdigest()[:16]


def _make(
    java: Sequence[str],
    jars: Sequence[Path],
    kept: Path,
    start_once: Callable[[Sequence[str]], None],
    on_progress: Progress,
) -> None:
    with files.append(kept.with_suffix(".lock")) as lock, files.working_directory("linking") as work:
        try:
            locking.claim(lock)
        except BlockingIOError:
            return
        if kept.exists():
            return
        on_progress(
            "first run: Kafka is started and stopped once, so that later starts are faster (about 10 s)"
        )
        noted, made = work / "noted", work / "made"
        try:
            start_once(["-XX:AOTMode=record", f"-XX:AOTConfiguration={noted}"])
            create = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={noted}", f"-XX:AOTCache={made}"]
            subprocess.run(
                [*java, *create, "-cp", ":".join(map(str, jars))],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=_CREATE_TIMEOUT_S,
                umask=files.UMASK,
            )
            files.deliver(made, kept)
        except (subprocess.SubprocessError, OSError, InputError, UnavailableError) as error:
            with files.written(kept):
                pass
            reason = str(error)
            if isinstance(error, subprocess.CalledProcessError):
                reason = f"the Java runtime ended with code {error.returncode}"
            on_progress(
                f"{kept} could not be made, and Kafka starts without it, which takes a few seconds more: "
                f"{reason}. Delete it to have it tried again"
            )
