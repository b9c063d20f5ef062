"""End a process when the process that started it is gone: `python -P watchdog.py PID PATIENCE_S`.

A process that is killed cannot end its children. So the parent holds a pipe to the watchdog's standard input,
which the operating system closes when the parent ends for any reason. The watchdog then terminates the
process PID, and kills it if it has not ended after PATIENCE_S seconds. It is run by its path, so that it
imports nothing else of Sightline.
"""

from __future__ import annotations

import contextlib
import sys

import psutil


def main() -> None:
    """Wait for the end of standard input, then end the process if it still runs."""
    # Opened now, so that a later process with the same id is not mistaken for this one.
    process = psutil.Process(int(sys.argv[1]))
    while sys.stdin.buffer.read(1):
        pass
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        # A stopped process must continue to handle the signal.
        process.resume()
        try:
            process.wait(float(sys.argv[2]))
        except psutil.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    with contextlib.suppress(psutil.NoSuchProcess):
        main()
