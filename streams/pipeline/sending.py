"""How many devices send, and how many have stopped, by partition."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from streams import metrics
from streams.limits import DEVICE_FORGOTTEN_S, DEVICE_SILENT_S


class Sending:
    """When each device was last heard, by a monotonic clock, in seconds.

    Any thread may call `show` while another one calls the rest.
    """

    def __init__(self) -> None:
        self._heard: dict[int, dict[str, float]] = {}
        self._lock = Lock()

    def heard(self, partition: int, devices: Iterable[str], now_s: float) -> None:
        """Take note that records of some devices came."""
        with self._lock:
            self._heard.setdefault(partition, {}).update(dict.fromkeys(devices, now_s))

    def ended(self, partition: int, devices: Iterable[str]) -> None:
        """Forget devices whose session ended: they have not stopped, and send nothing more."""
        with self._lock:
            for device in devices:
                self._heard.get(partition, {}).pop(device, None)

    def left(self, partition: int) -> None:
        """Forget the devices of a partition that another worker may have now."""
        with self._lock:
            self._heard.pop(partition, None)
            metrics.forget("devices_known", partition=str(partition))
            metrics.forget("devices_sending", partition=str(partition))
            metrics.forget("devices_stopped", partition=str(partition))

    def show(self, now_s: float) -> None:
        """Set the gauges for a moment, and forget devices that have been silent for long."""
        with self._lock:
            for partition, heard in self._heard.items():
                for device in [name for name, at in heard.items() if now_s - at >= DEVICE_FORGOTTEN_S]:
                    del heard[device]
                sending = sum(now_s - at < DEVICE_SILENT_S for at in heard.values())
                metrics.gauge("devices_sending", sending, partition=str(partition))
                metrics.gauge("devices_stopped", len(heard) - sending, partition=str(partition))
