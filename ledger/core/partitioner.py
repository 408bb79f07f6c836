"""Which partition a record belongs to: murmur2 of its key, as Kafka's Java clients choose.

Both backends use this one function, so that a log means the same on either and any Java or
`murmur2_random` client that keys by record id writes to the same partition.
Source: `org.apache.kafka.common.utils.Utils.murmur2`.
"""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash that Kafka uses, as an unsigned number."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if length & 3:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=1 << 16)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition among `partitions` that a message with this key belongs to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
