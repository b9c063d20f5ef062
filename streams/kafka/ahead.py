"""Kafka linked ahead of time: a start then takes half the time and half the CPU.

The Java runtime notes which classes a start of Kafka loads and how often it runs what, and makes a file of
both that later starts map into memory (JEP 483, 514 and 515). The file is made once a machine, beside the
jars. A runtime checks it and goes without it where it is damaged, or was made of other jars or by another
runtime.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from streams import files
from streams.errors import InputError, UnavailableError
from streams.kafka.jars import Progress

_CREATE_TIMEOUT_S = 180.0


def options(
    java: Sequence[str],
    jars: Sequence[Path],
    start_once: Callable[[Sequence[str]], None],
    on_progress: Progress,
) -> list[str]:
    """Return the options with which a runtime uses the file; make it first if there is none yet.

    None are returned while another process makes it. A file that cannot be made is left empty, which is said
    once, and Kafka starts without it from then on.

    Parameters
    ----------
    java
        Path of the runtime, and the options that it has in every start.
    jars
        Kafka's, in the order of the class path, all in one directory; the file is kept there.
    start_once
        Starts a Kafka with the options that it is given, and stops it in order.
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
    """Short digest of all that a file is made for: the release of the runtime, its options, the jars.

    Where the runtime lies does not count: environments of one release share a file.
    """
    release = Path(java[0]).parents[1] / "release"
    told = release.read_bytes() if release.exists() else b""
    return hashlib.sha256(b"\n".join([told, *map(str.encode, (*java[1:], *map(str, jars)))])).hexdigest()[:16]


def _make(
    java: Sequence[str],
    jars: Sequence[Path],
    kept: Path,
    start_once: Callable[[Sequence[str]], None],
    on_progress: Progress,
) -> None:
    with files.append(kept.with_suffix(".lock")) as lock, files.working_directory("linking") as work:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
