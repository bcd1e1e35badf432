"""Bytes no DICOM program would send to a listener (PS3.8): each a name and what is written to the connection."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

VERIFICATION = b"1.2.840.10008.1.1"
RADIOGRAPH = b"1.2.840.10008.5.1.4.1.1.1"
_IMPLICIT = b"1.2.840.10008.1.2"
_CONTEXT = b"1.2.840.10008.3.1.1.1"
_RELEASE = struct.pack(">BBL", 5, 0, 4) + bytes(4)
_ENDLESS = 0xFFFFFFFF


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A PDU, whose length may be a lie."""
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


def item(kind: int, body: bytes, length: int | None = None) -> bytes:
    """An item of an association request."""
    return struct.pack(">BBH", kind, 0, len(body) if length is None else length) + body


def context(number: int, abstract: bytes = VERIFICATION, syntaxes: Sequence[bytes] = (_IMPLICIT,)) -> bytes:
    """A presentation context."""
    names = item(0x30, abstract) + b"".join(item(0x40, name) for name in syntaxes)
    return item(0x20, bytes([number, 0, 0, 0]) + names)


def request(
    *contexts: bytes, caller: bytes = b"XRAY1", called: bytes = b"FRACTUREAI", user: bytes | None = None
) -> bytes:
    """An association request."""
    about = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3") if user is None else user
    head = struct.pack(">HH", 1, 0) + called.ljust(16)[:16] + caller.ljust(16)[:16] + bytes(32)
    return pdu(1, head + item(0x10, _CONTEXT) + b"".join(contexts) + item(0x50, about))


def fragment(number: int, control: int, data: bytes, length: int | None = None) -> bytes:
    """A P-DATA of one fragment; control: 1 command, 2 last."""
    size = len(data) + 2 if length is None else length
    return pdu(4, struct.pack(">LBB", size, number, control) + data)


def command(**fields: tuple[int, bytes]) -> bytes:
    """A command set of elements ``(tag, value)``, implicit little endian."""
    elements = b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in sorted(fields.values())
    )
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def store(*, data_set: int = 1, sop_class: bytes = RADIOGRAPH + b"\0", instance: bytes = b"1.2.3\0") -> bytes:
    """A C-STORE request's command set; ``data_set`` 0x0101: none follows."""
    return command(
        sop_class=(0x0002, sop_class),
        kind=(0x0100, _us(1)),
        message=(0x0110, _us(1)),
        priority=(0x0700, _us(0)),
        follows=(0x0800, _us(data_set)),
        instance=(0x1000, instance),
    )


def wires() -> Iterator[tuple[str, Sequence[bytes]]]:
    """``(name, writes)``; after the first write of one that begins with a request an answer is awaited."""
    yield from _before_an_association()
    yield from _requests()
    yield from _within()


def _before_an_association() -> Iterator[tuple[str, Sequence[bytes]]]:
    yield "nothing", [b""]
    yield "http", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
    yield "tls", [bytes.fromhex("1603010200010001fc0303") + bytes(200)]
    yield "junk", [bytes(range(256)) * 400]
    yield "zeros", [bytes(100_000)]
    yield "half-a-header", [b"\x01\0\0"]
    yield "giant-pdu", [pdu(1, b"x" * 1000, 0xFFFFFFF0)]
    yield "pdu-of-nothing", [pdu(1, b"")]
    yield "cut-request", [request(context(1))[:60]]
    yield "data-first", [fragment(1, 3, store())]
    yield "release-first", [_RELEASE]
    yield "abort-first", [pdu(7, bytes(4))]
    yield "answer-first", [pdu(2, bytes(68))]
    yield "unknown-kind", [pdu(0x42, bytes(10))]


def _requests() -> Iterator[tuple[str, Sequence[bytes]]]:
    yield "contexts-thousands", [request(*[context(1 + 2 * (n % 128)) for n in range(1900)])]
    syntaxes = [b"1.2.840.10008.1.2.4.%d" % n for n in range(60, 2300)]
    yield "context-with-thousands-of-syntaxes", [request(context(1, RADIOGRAPH, syntaxes))]
    many = [context(1 + 2 * n, RADIOGRAPH, syntaxes[:30]) for n in range(120)]
    yield "contexts-and-syntaxes", [request(*many)]
    yield "contexts-even-numbers", [request(context(0), context(2), context(2))]
    yield "contexts-none", [request()]
    yield "context-without-names", [request(item(0x20, bytes([1, 0, 0, 0])))]
    yield "context-of-words", [request(context(1, b"../../etc/passwd", [b"<script>", b"\xff\0\r\n"]))]
    yield "item-length-lies", [request(item(0x20, bytes([1, 0, 0, 0]), 0xFFF0))]
    yield "item-length-none", [request(*[item(0x20, b"", 0)] * 5000)]
    yield "items-unheard-of", [request(*[item(0x99, b"x" * 50)] * 1500)]
    yield "caller-of-controls", [request(context(1), caller=b"a\r\nERROR \x1b[2J\0\x07")]
    yield "caller-of-high-bytes", [request(context(1), caller=b"\xff\xfe\x80\xe2\x80\xae" * 3)]
    yield "caller-of-nothing", [request(context(1), caller=b" ", called=b" ")]
    yield "caller-of-zeros", [request(context(1), caller=bytes(16), called=bytes(16))]
    yield "caller-backslashes", [request(context(1), caller=b"..\\..\\..\\ETC")]
    yield "user-of-nothing", [request(context(1), user=b"")]
    yield "user-pdu-size-none", [request(context(1), user=item(0x51, bytes(4)))]
    yield "user-pdu-size-one", [request(context(1), user=item(0x51, struct.pack(">L", 1)))]
    yield "user-pdu-size-short", [request(context(1), user=item(0x51, b"\0"))]
    yield "user-identity", [request(context(1), user=item(0x58, b"\2\1" + struct.pack(">H", 0xFFFF) + b"root"))]
    yield "user-version-of-controls", [request(context(1), user=item(0x55, b"\r\n\0" * 100))]
    roles = b"".join(item(0x54, struct.pack(">H", 3) + b"1.2" + b"\1\1") for _ in range(5000))
    yield "user-roles-thousands", [request(context(1), user=roles[:60_000])]
    yield "version-none", [request(context(1)).replace(b"\0\1\0\0FRAC", b"\0\0\0\0FRAC")]


def _within() -> Iterator[tuple[str, Sequence[bytes]]]:
    opened = request(context(1), context(3, RADIOGRAPH))
    yield "request-twice", [opened, opened]
    yield "no-end", [opened, b""]
    yield "unknown-context", [opened, fragment(99, 3, store())]
    yield "fragment-length-lies", [opened, fragment(3, 3, store(), 0x7FFFFFFF)]
    yield "fragment-length-none", [opened, fragment(3, 3, store(), 0)]
    yield "fragments-thousands-empty", [opened, pdu(4, struct.pack(">LBB", 2, 3, 1) * 10_000)]
    yield "command-garbage", [opened, fragment(3, 3, b"\xa5" * 200)]
    yield "command-endless", [opened, *[fragment(3, 1, b"\0" * 16_000)] * 20]
    yield "command-of-nothing", [opened, fragment(3, 3, b"")]
    yield "command-unheard-of", [opened, fragment(3, 3, command(kind=(0x0100, _us(0x4242))))]
    yield "command-length-lies", [opened, fragment(3, 3, struct.pack("<HHL", 0, 0x100, _ENDLESS))]
    yield "data-before-command", [opened, fragment(3, 2, b"\x08\0\x18\0UI\0\0")]
    yield "store-without-class", [opened, fragment(3, 3, command(kind=(0x0100, _us(1)), follows=(0x0800, _us(1))))]
    yield "store-in-verification", [opened, fragment(1, 3, store()), fragment(1, 2, b"x" * 100)]
    yield "store-without-data", [opened, fragment(3, 3, store(data_set=0x0101))]
    yield "store-no-data-set", [opened, fragment(3, 3, store()), fragment(3, 2, b"")]
    yield (
        "store-uid-of-words",
        [
            opened,
            fragment(3, 3, store(instance=b"../../../etc/passwd\0", sop_class=b"a\r\nERROR pwned")),
            fragment(3, 2, b"x" * 100),
        ],
    )
    yield "store-uid-long", [opened, fragment(3, 3, store(instance=b"1." * 5000)), fragment(3, 2, b"x" * 100)]
    yield "store-cut", [opened, fragment(3, 3, store()), fragment(3, 0, b"x" * 5000)]
    yield "stores-at-once", [opened, fragment(3, 3, store()) * 50]
    yield "move", [opened, fragment(3, 3, command(kind=(0x0100, _us(0x21)), message=(0x0110, _us(1))))]
    yield "find", [opened, fragment(3, 3, command(kind=(0x0100, _us(0x20)), message=(0x0110, _us(1))))]
    yield "answer-to-nothing", [opened, fragment(3, 3, command(kind=(0x0100, _us(0x8001)), status=(0x0900, _us(0))))]
    yield "release-and-more", [opened, _RELEASE + fragment(3, 3, store())]
    yield "abort-of-words", [opened, pdu(7, b"\xff\xff\xff\xff")]
