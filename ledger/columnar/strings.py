"""Strings that lie in a buffer of bytes, as codes; and Kafka's hash of many keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ledger.logs.base import PADDING, PackedCells

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Keys = Sequence[Words]
"""Strings of as many words each: the first word of all, the second of all, and so on."""
Bools = NDArray[np.bool_]

_MASKS: Words = np.array([(1 << (8 * size)) - 1 for size in range(9)], np.uint64)
_SHIFT = np.uint64(32)
_INLINE = 12
_BUFFER = 30  # the bits of a place inside one of a series' buffers

_PIECE = 1 << 18
_AT_ONCE = 1024
_WORDS_MAX = 32
_BEHIND = _WORDS_MAX + PADDING // 8  # words that may be looked at behind the last one kept
_CODE = 0xFFFFFFFF
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# Another in each process, as for Python's own: nobody can choose ids that meet in few slots.
_SEED = np.uint64(hash("errata") & 0xFFFFFFFFFFFFFFFF)


def joined(parts: Sequence[bytes | None]) -> tuple[Bytes, Ints, Ints]:
    """The parts in one buffer, where each starts, and how long it is; what is missing is empty."""
    if isinstance(parts, PackedCells):
        return _unpacked(parts)
    there = cast("Sequence[bytes]", parts)
    try:
        data = b"".join((*there, bytes(PADDING)))
    except TypeError:
        there = [part or b"" for part in parts]
        data = b"".join((*there, bytes(PADDING)))
    lengths = np.fromiter(map(len, there), np.int64, len(there))
    return np.frombuffer(data, np.uint8), np.cumsum(lengths) - lengths, lengths


def _unpacked(cells: PackedCells) -> tuple[Bytes, Ints, Ints]:
    sizes = np.asarray(cells.packed.sizes)
    keys, values = np.maximum(sizes >> 32, 0), sizes & 0xFFFFFFFF
    both = keys + values
    starts = np.cumsum(both) - both
    data = np.frombuffer(cells.packed.data, np.uint8)
    return (data, starts, keys) if cells.key else (data, starts + keys, values)


def words(data: Bytes, starts: Ints, lengths: Ints) -> Words:
    """The first 8 bytes of each string, little-endian, zero behind its end."""
    found = _eight(data, starts)
    if lengths.min(initial=8) >= 8:
        return found
    return found & _MASKS[np.clip(lengths, 0, 8)]


def _eight(data: Bytes, starts: Ints) -> Words:
    """The 8 bytes at each place."""
    # A type without alignment: numpy gathers it in one move wherever it starts.
    everywhere: Any = np.ndarray((len(data) - 7,), "V8", data, strides=(1,))
    return everywhere[starts].view("<u8")


def series(data: Bytes, starts: Ints, lengths: Ints) -> pl.Series:
    """The strings, which must be valid UTF-8, as a Polars series over the same bytes."""
    views = np.empty((len(starts), 2), np.uint64)
    first = words(data, starts, lengths)
    np.bitwise_or(lengths.view(np.uint64), first << _SHIFT, out=views[:, 0])
    inside = starts & ((1 << _BUFFER) - 1)
    views[:, 1] = ((inside << 32) | (starts >> _BUFFER)).view(np.uint64)
    rows = np.nonzero(lengths <= _INLINE)[0]
    if len(rows):  # short strings lie in the view itself
        views[rows, 1] = words(data, starts[rows] + 4, lengths[rows] - 4)
    parts = [data[i : i + (2 << _BUFFER) - 1] for i in range(0, len(data), 1 << _BUFFER)]
    buffers: Any = [None, *map(_buffer, (views, *parts))]
    array: Any = pa.Array.from_buffers(pa.string_view(), len(starts), buffers)
    made: Any = pl.from_arrow(array)
    return made


def _buffer(array: Any) -> Any:
    return pa.py_buffer(array)


def equal(one: Bytes, first: Ints, other: Bytes, second: Ints, lengths: Ints) -> Bools:
    """Which strings of one buffer are those of the other; they are pairwise equally long."""
    found = np.ones(len(lengths), np.bool_)
    for length in distinct(lengths):
        if length <= 0:
            continue
        rows: Any = np.nonzero(lengths == length)[0]
        if len(rows) == len(lengths):
            rows = slice(None)  # nothing has to be picked
        mine, theirs = _blocks(one, first[rows], length), _blocks(other, second[rows], length)
        same = mine.view(np.uint8) == theirs.view(np.uint8)
        if not same.all():
            found[rows] = same.reshape(-1, length).all(1)
    return found


def alike(one: Bytes, mine: tuple[Ints, Ints], other: Bytes, theirs: tuple[Ints, Ints]) -> Bools:
    """Which strings of one buffer, by their starts and lengths, are those of the other."""
    (first, lengths), (second, sizes) = mine, theirs
    found = lengths == sizes
    if found.all():
        return equal(one, first, other, second, lengths)
    found[found] = equal(one, first[found], other, second[found], lengths[found])
    return found


def _blocks(data: Bytes, starts: Ints, length: int) -> NDArray[Any]:
    everywhere: Any = np.ndarray((len(data) - length + 1,), f"V{length}", data, strides=(1,))
    return everywhere[starts]


def distinct(numbers: Ints) -> list[int]:
    """The distinct numbers, of which there are few."""
    found: list[int] = []
    while len(numbers):
        found.append(int(numbers[0]))
        numbers = numbers[numbers != numbers[0]]
    return found


class Interner:
    """Gives each distinct string a small code, the same in every batch: 0, 1, 2, and so on.

    A hash table with linear probing in which all strings of a batch look at their next slot at the
    same time; at least three of four slots are free, so that few have to look again. Strings are
    kept and compared as whole words, so that no hash is trusted. Behind its end a string is filled
    up with 0xFF, which UTF-8 never has: of strings of as many words, those with equal words are
    equal.
    """

    def __init__(self) -> None:
        self.size = 0
        """How many strings there are: all codes are below it."""
        self._slots = np.zeros(4 * _AT_ONCE, np.uint32)  # where a string is kept; 0 if free
        # Each string: the number of its words and its code in one word, then its words.
        self._kept = np.zeros(_AT_ONCE, np.uint64)
        self._used = 1
        self._places = np.zeros(_AT_ONCE, np.uint32)
        self._lengths = np.zeros(_AT_ONCE, np.int64)
        self._hashes = np.zeros(_AT_ONCE, np.uint64)
        self._long: dict[bytes, int] = {}

    def codes(self, data: Bytes, starts: Ints, lengths: Ints) -> Ints:
        """The code of each string; they must be valid UTF-8."""
        found = np.empty(len(starts), np.int64)
        if not len(starts):
            return found
        counts = np.maximum((lengths + 7) >> 3, 1)
        for count in distinct(counts):
            rows = np.nonzero(counts == count)[0]
            whole = len(rows) == len(starts)
            first, sizes = (starts, lengths) if whole else (starts[rows], lengths[rows])
            if count > _WORDS_MAX:
                codes = self._of_long(data, first, sizes)
            else:
                codes = self._of_words(_filled(data, first, sizes, count), sizes)
            if whole:
                return codes
            found[rows] = codes
        return found

    def of_series(self, strings: pl.Series) -> Ints:
        """The code of each string of a series without nulls."""
        data, starts, lengths = joined([each.encode() for each in strings])
        return self.codes(data, starts, lengths)

    def strings(self, start: int = 0) -> pl.Series:
        """Every string from a code on, by code."""
        return self.of(np.arange(start, self.size))

    def of(self, codes: Ints) -> pl.Series:
        """The string behind each code."""
        starts = (self._places[codes].astype(np.int64) + 1) * 8
        return series(self._kept.view(np.uint8), starts, self._lengths[codes])

    def _of_words(self, keys: Keys, lengths: Ints) -> Ints:
        hashes = _hashes(keys)
        found, slots = self._find(keys, hashes)
        rows = np.nonzero(found < 0)[0]
        while len(rows):
            # No more at once than are known: few strings may come in many rows.
            new = rows[: max(self.size, _AT_ONCE)]
            found[new] = self._add(_some(keys, new), hashes[new], lengths[new], slots[new])
            rows = np.concatenate((new[found[new] < 0], rows[len(new) :]))
            if len(rows):
                found[rows], slots[rows] = self._find(_some(keys, rows), hashes[rows])
                rows = rows[found[rows] < 0]
        return found

    def _find(self, keys: Keys, hashes: Words) -> tuple[Ints, Ints]:
        """The code of each string; where it has none -1, and a free slot for it."""
        slots = self._first_slots(hashes)
        places = self._slots.take(slots)
        found = self._compared(keys, places)
        rows = np.nonzero((found < 0) & (places != 0))[0]
        while len(rows):
            slots[rows] = at = (slots[rows] + 1) & (len(self._slots) - 1)
            places = self._slots[at]
            found[rows] = codes = self._compared(_some(keys, rows), places)
            rows = rows[(codes < 0) & (places != 0)]
        return found, slots

    def _compared(self, keys: Keys, places: NDArray[np.uint32]) -> Ints:
        """The code of the string at each place; -1 where it is another, or none."""
        at = places.astype(np.int64)
        head = self._kept.take(at).view(np.int64)
        same = head >> 32 == len(keys)
        for key in keys:
            at += 1
            same &= self._kept.take(at) == key
        head &= _CODE
        if not same.all():
            head[~same] = -1
        return head

    def _add(self, keys: Keys, hashes: Words, lengths: Ints, slots: Ints) -> Ints:
        """The codes of strings that had none, with free slots; -1 where another row got the slot:
        it may be the same string.
        """
        if self._reserve(len(hashes), len(hashes) * (len(keys) + 1)):
            _, slots = self._find(keys, hashes)
        # Of several rows at one slot the first one gets it: the last one written stays.
        numbers = np.arange(len(hashes), dtype=np.uint32)
        self._slots[slots[::-1]] = numbers[::-1]
        won = self._slots[slots] == numbers
        if won.all():
            return self._keep(keys, hashes, lengths, slots)
        found, new = np.full(len(slots), -1, np.int64), np.nonzero(won)[0]
        found[new] = self._keep(_some(keys, new), hashes[new], lengths[new], slots[new])
        return found

    def _keep(self, keys: Keys, hashes: Words, lengths: Ints, slots: Ints) -> Ints:
        """Store strings that are new, with the next codes, each at a free slot of its own."""
        count, width = len(lengths), len(keys) + 1
        first, stop = self.size, self.size + count
        codes = np.arange(first, stop)
        block = self._kept[self._used : self._used + count * width].reshape(count, width)
        block[:, 0] = codes | len(keys) << 32
        for i, key in enumerate(keys, 1):
            block[:, i] = key
        places = (self._used + np.arange(count) * width).astype(np.uint32)
        self._places[first:stop] = self._slots[slots] = places
        self._lengths[first:stop], self._hashes[first:stop] = lengths, hashes
        self.size += count
        self._used += count * width
        return codes

    def _of_long(self, data: Bytes, starts: Ints, lengths: Ints) -> Ints:
        """The codes of strings that are too long to go over all rows word by word: a dictionary
        knows them, and no slot is asked.
        """
        found = np.empty(len(starts), np.int64)
        for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            string = data[start : start + length].tobytes()
            code = self._long.setdefault(string, self.size)
            if code == self.size:
                self._keep_long(string)
            found[row] = code
        return found

    def _keep_long(self, string: bytes) -> None:
        words = np.frombuffer(string + b"\xff" * (-len(string) % 8), "<u8")
        code, stop = self.size, self._used + 1 + len(words)
        self._reserve(1, len(words) + 1)
        self._kept[self._used] = code | len(words) << 32
        self._kept[self._used + 1 : stop] = words
        self._places[code], self._lengths[code] = self._used, len(string)
        self._hashes[code] = hash(string) & 0xFFFFFFFFFFFFFFFF
        self._used, self.size = stop, code + 1

    def _first_slots(self, hashes: Words) -> Ints:
        return (hashes >> np.uint64(65 - len(self._slots).bit_length())).view(np.int64)

    def _reserve(self, strings: int, words: int) -> bool:
        """Make room for more strings of so many words together; whether all slots changed."""
        self._kept = longer(self._kept, self._used + words + _BEHIND)
        size = self.size + strings
        self._places = longer(self._places, size)
        self._lengths = longer(self._lengths, size)
        self._hashes = longer(self._hashes, size)
        if 4 * size <= len(self._slots):
            return False
        self._slots = np.full(1 << (8 * size - 1).bit_length(), 0, np.uint32)
        places, slots = self._places[: self.size], self._first_slots(self._hashes[: self.size])
        while len(places):
            free = self._slots[slots] == 0
            self._slots[slots[free]] = places[free]
            left = np.nonzero(self._slots[slots] != places)[0]
            places, slots = places[left], (slots[left] + 1) & (len(self._slots) - 1)
        return True


def _filled(data: Bytes, starts: Ints, lengths: Ints, count: int) -> Keys:
    """All words of strings of so many words, filled up behind their ends."""
    everything = _blocks(data, starts, 8 * count).view("<u8").reshape(len(starts), count)
    rest = lengths - 8 * (count - 1)
    everything[:, -1] |= ~_MASKS[int(rest[0]) if (rest == rest[0]).all() else rest]
    return list(everything.T)


def _hashes(keys: Keys) -> Words:
    hashes = np.full(len(keys[0]), _SEED)
    for key in keys:
        hashes ^= key
        hashes *= _MULTIPLIER
        hashes ^= hashes >> _SHIFT
    return hashes


def _some(keys: Keys, rows: Ints | Bools) -> Keys:
    return [key[rows] for key in keys]


def longer(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array with room for so many, at least; it doubles where it grows."""
    if size <= len(array):
        return array
    grown = np.empty(max(size, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown


_M = np.uint32(0x5BD1E995)


def murmur2(data: Bytes, starts: Ints, lengths: Ints) -> NDArray[np.uint32]:
    """As `ledger.core.partitioner.murmur2`, for many keys at once."""
    found = np.uint32(0x9747B28C) ^ lengths.astype(np.uint32)
    everywhere: Any = np.ndarray((len(data) - 3,), "V4", data, strides=(1,))
    whole = lengths & ~3
    for at in range(0, int(whole.max(initial=0)), 4):
        rows: Any = np.nonzero(whole > at)[0]
        if len(rows) == len(starts):
            rows = slice(None)  # as in most rounds: nothing has to be picked
        k = everywhere[starts[rows] + at].view("<u4") * _M
        k = (k ^ (k >> np.uint32(24))) * _M
        found[rows] = (found[rows] * _M) ^ k
    rows = np.nonzero(lengths & 3)[0]
    rest = words(data, starts[rows] + whole[rows], lengths[rows] & 3).astype(np.uint32)
    found[rows] = (found[rows] ^ rest) * _M
    found = (found ^ (found >> np.uint32(13))) * _M
    return found ^ (found >> np.uint32(15))


def partitions_of(data: Bytes, starts: Ints, lengths: Ints, partitions: int) -> Ints:
    """As `ledger.core.partitioner.partition_of`, for many keys at once."""
    hashes = murmur2(data, starts, lengths) & np.uint32(0x7FFFFFFF)
    return hashes.astype(np.int64) % partitions


def high_bytes(data: Bytes) -> int:
    """How many bytes are 128 and more, counted in pieces that stay in the processor's cache."""
    pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    return sum(int(np.count_nonzero(piece >= 0x80)) for piece in pieces)


def not_utf8(data: Bytes, starts: Ints, lengths: Ints, high: Ints) -> Bools:
    """Which strings are no UTF-8. `high` counts the bytes of 128 and more before each place."""
    bad = np.zeros(len(starts), np.bool_)
    for row in np.nonzero(high[starts + lengths] != high[starts])[0].tolist():
        try:
            data[starts[row] : starts[row] + lengths[row]].tobytes().decode()
        except UnicodeDecodeError:
            bad[row] = True
    return bad
