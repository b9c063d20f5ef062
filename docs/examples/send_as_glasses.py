"""Sends what glasses must: a consent, a second of motion under it, the session's end; plain aiokafka.

pip install 'aiokafka[zstd]'; sightline pair --device g7 --wearer w7; python send_as_glasses.py 127.0.0.1:9092
Once: who runs it again goes on with the numbers, or begins the streams' next incarnation (imu-right~2).
"""

import asyncio
import json
import sys
import time
import zlib
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

DEVICE, WEARER, TOPIC = "g7", "w7", "glasses.captured"
WHO = {"device_id": DEVICE, "wearer_id": WEARER, "session_id": "s1", "origin": "live", "clock": "unix"}
AROUND = {"place": "home", "people_near": "nobody", "minor_near": False, "capture_light": False, "worn": True}


def record(kind: str, first: int, consent: int, columns: dict[str, Any], dt_ns: int = 0) -> dict[str, Any]:
    """Value and headers of a batch that was captured just now; the stream is called as its kind."""
    stream, count, t0_ns = kind.replace("_", "-"), len(next(iter(columns.values()))), time.time_ns()
    numbers = {"stream": stream, "first": first, "n": count, "t0_ns": t0_ns, "dt_ns": dt_ns}
    said = {
        "v": 1,
        "kind": kind,
        **WHO,
        **numbers,
        "context": {**AROUND, "consent": consent},
        "columns": columns,
    }
    second = datetime.fromtimestamp(t0_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    headers = {"ce_specversion": "1.0", "ce_id": f"{DEVICE}/{stream}/{first}", "ce_source": DEVICE}
    headers |= {"ce_type": f"glasses.{kind}.v1", "ce_time": f"{second}.{t0_ns % 10**9 // 1000:06d}Z"}
    headers |= {"content-type": "application/json", "sightline-run": f"{first} 1 {count}"}
    return {
        "value": json.dumps(said).encode(),
        "headers": [(name, text.encode()) for name, text in headers.items()],
    }


async def main(broker: str) -> None:
    """Send each batch when the one before it is acknowledged."""
    safe = {"enable_idempotence": True, "acks": "all", "compression_type": "zstd"}
    async with AIOKafkaProducer(bootstrap_servers=broker, **safe) as producer:
        partition = zlib.crc32(DEVICE.encode()) % len(await producer.partitions_for(TOPIC))
        place = {"topic": TOPIC, "key": DEVICE.encode(), "partition": partition}
        given = {"consent": [1], "status": ["dpv:ConsentGiven"], "principal": [None], "expires_ns": [None]}
        given |= {"purposes": ["dpv:RequestedServiceProvision"]}
        await producer.send_and_wait(**place, **record("consent_change", 0, 0, given))
        axes = [
            "accel_x_mps2",
            "accel_y_mps2",
            "accel_z_mps2",
            "gyro_x_radps",
            "gyro_y_radps",
            "gyro_z_radps",
        ]
        for first in range(0, 100, 20):
            still = {axis: [9.81 if axis == "accel_z_mps2" else 0.0] * 20 for axis in axes}
            await producer.send_and_wait(**place, **record("imu", first, 1, still, dt_ns=10_000_000))
            await asyncio.sleep(0.2)
        ended = {"session": ["ended"], "battery_percent": [80], "thermal": ["cool"]}
        await producer.send_and_wait(**place, **record("device_state", 0, 1, ended))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
