from __future__ import annotations

import pytest

from ledger.core.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_java_clients(key: bytes, signed: int):
    """Kafka's own test vectors (UtilsTest.testMurmur2)."""
    assert murmur2(key) == signed % 2**32


def test_partition_takes_the_positive_hash():
    """Java clients mask the sign bit; they do not take the absolute value."""
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000


@pytest.mark.parametrize("partitions", [1, 2, 5, 1000])
def test_every_key_has_a_partition(partitions: int):
    """Any bytes, the empty key and every tail length included, belong to one partition."""
    keys = [b"", *(bytes(range(255, 255 - n, -1)) for n in range(1, 9))]
    assert all(0 <= partition_of(key, partitions) < partitions for key in keys)
