"""Changing bytes, by a seeded generator: the same seed gives the same inputs on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_LARGEST_BYTES = 64 * 1024
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# What the formats know as beginnings, ends and lengths without an end.
_WORDS = (
    b"DICM",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
    b"\xe0\x7f\x10\x00OW\x00\x00\xff\xff\xff\xff",
    b"SQ\x00\x00\xff\xff\xff\xff",
    b"UN\x00\x00",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"IHDR",
    b"IDAT",
    b"iCCP",
    b"zTXt",
    b"\xff\xd8\xff\xda",
    b"\xff\xc2",
    b"II\x2a\x00",
    b"VP8X",
    b"--edge\r\n",
    b"\r\n\r\n",
    b'"\\ud800"',
    b"null",
    b"1e999",
    b"[[[[[[[[",
    b"\x00\x00\x00\x00\x00\x00\x00\x00",
)


class Mutator:
    """Makes inputs out of seeds.

    Parameters
    ----------
    seeds:
        At least one.
    seed:
        Of the generator.
    """

    def __init__(self, seeds: Sequence[bytes], seed: int) -> None:
        self._seeds = seeds
        self._dice = random.Random(seed)
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._byte,
            self._number,
            self._cut,
            self._repeat,
            self._word,
            self._move,
            self._truncate,
        )

    def next(self) -> bytes:
        """One more input: a seed with one to eight changes, sometimes two seeds in one."""
        data = bytearray(self._dice.choice(self._seeds))
        if self._dice.random() < 0.05:
            other = self._dice.choice(self._seeds)
            at = self._place(data)
            data[at:] = other[min(at, len(other)) :]
        return self.change(bytes(data))

    def change(self, data: bytes) -> bytes:
        """Change one input; most changes hit the first kilobyte, where headers are."""
        changed = bytearray(data)
        for _ in range(self._dice.choice((1, 1, 2, 3, 5, 8))):
            self._dice.choice(self._changes)(changed)
        return bytes(changed[:_LARGEST_BYTES])

    def _place(self, data: bytearray) -> int:
        if not data:
            return 0
        near = min(len(data), 1024) if self._dice.random() < 0.6 else len(data)
        return self._dice.randrange(near)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._place(data)] ^= 1 << self._dice.randrange(8)

    def _byte(self, data: bytearray) -> None:
        if data:
            data[self._place(data)] = self._dice.randrange(256)

    def _number(self, data: bytearray) -> None:
        size = self._dice.choice((1, 2, 4, 8))
        number = (self._dice.choice(_NUMBERS) + self._dice.choice((0, 0, 1, -1))) % (1 << (8 * size))
        at = self._place(data)
        data[at : at + size] = number.to_bytes(size, self._dice.choice(("little", "big")))

    def _cut(self, data: bytearray) -> None:
        at = self._place(data)
        del data[at : at + self._dice.choice((1, 2, 4, 16, 64, 400))]

    def _repeat(self, data: bytearray) -> None:
        at = self._place(data)
        piece = data[at : at + self._dice.choice((1, 4, 8, 32, 128))]
        if len(data) < _LARGEST_BYTES:
            data[at:at] = piece * self._dice.choice((1, 2, 8, 64))

    def _word(self, data: bytearray) -> None:
        at, word = self._place(data), self._dice.choice(_WORDS)
        data[at : at + (len(word) if self._dice.random() < 0.5 else 0)] = word

    def _move(self, data: bytearray) -> None:
        at, to, size = self._place(data), self._place(data), self._dice.choice((2, 4, 8, 40))
        data[to : to + size] = data[at : at + size]

    def _truncate(self, data: bytearray) -> None:
        if self._dice.random() < 0.3:
            del data[self._place(data) :]
