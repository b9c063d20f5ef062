"""Glasses, once: sightline pair --device g7 --wearer w7; python send_as_glasses.py 127.0.0.1:9092."""

import asyncio
import sys
import time
import zlib

import orjson
from aiokafka import AIOKafkaProducer

WHO = {"v": 1, "device_id": "g7", "wearer_id": "w7", "session_id": "s1", "origin": "live", "clock": "unix"}
AROUND = {"place": "home", "people_near": "nobody", "minor_near": False, "capture_light": False, "worn": True}
USE = {"purposes": ["dpv:RequestedServiceProvision"], "principal": [None], "expires_ns": [None]}
LOUD = {"rms_dbfs": [-30.0] * 20, "peak_dbfs": [-20.0] * 20, "voiced": [True] * 20}
BATCHES = [  # kind, number of the first event, count, number of the consent in force (0: none yet), columns
    ("consent_change", 0, 1, 0, {"consent": [1], "status": ["dpv:ConsentGiven"], **USE}),
    *(("audio_level", first, 20, 1, LOUD) for first in range(0, 100, 20)),
    ("device_state", 0, 1, 1, {"session": ["ended"], "battery_percent": [80], "thermal": ["cool"]}),
]


async def main(broker: str) -> None:
    """Send each batch when the one before it is acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True) as producer:
        partition = zlib.crc32(b"g7") % len(await producer.partitions_for("glasses.captured"))
        for kind, first, n, consent, columns in BATCHES:
            stream, context = kind.replace("_", "-"), {**AROUND, "consent": consent}
            batch = {"kind": kind, "stream": stream, "first": first, "n": n, "t0_ns": time.time_ns()}
            batch |= {"dt_ns": 10_000_000, "context": context, "columns": columns}
            headers = {"ce_specversion": "1.0", "ce_id": f"g7/{stream}/{first}", "ce_source": "g7"}
            headers |= {"ce_type": f"glasses.{kind}.v1", "sightline-run": f"{first} 1 {n}"}
            packed = [(name, text.encode()) for name, text in headers.items()]
            value = orjson.dumps(WHO | batch)
            await producer.send_and_wait("glasses.captured", value, b"g7", partition, headers=packed)
            await asyncio.sleep(0.2)


asyncio.run(main(sys.argv[1]))
