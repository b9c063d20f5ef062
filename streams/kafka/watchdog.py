"""Ends a process once whoever started it is gone: `python -P watchdog.py PID PATIENCE_S`.

A process that is killed ends nothing that it started. So it holds a pipe to the standard input of this one,
which the system closes with it, whatever ended it. The process PID is then asked to end; where it does not
within PATIENCE_S seconds, it is killed. It is run by its path, so that it loads nothing else of ours.
"""

from __future__ import annotations

import contextlib
import sys

import psutil


def main() -> None:
    """Wait for the end of standard input, then end the process; one that has ended before is left alone."""
    # Held from the start on: a process that gets the same number later is not the one.
    process = psutil.Process(int(sys.argv[1]))
    while sys.stdin.buffer.read(1):
        pass
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        # One that is frozen cannot hear the signal.
        process.resume()
        try:
            process.wait(float(sys.argv[2]))
        except psutil.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    with contextlib.suppress(psutil.NoSuchProcess):
        main()
