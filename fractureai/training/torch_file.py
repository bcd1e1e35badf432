"""Arrays out of a file of PyTorch (its format before 1.6), without PyTorch: it is not needed to train with Keras.

The file is a row of pickles: a magic number, the protocol, facts on the machine, a dictionary whose tensors name their
storages, and the keys of these; then the storages, each its length and its values
(``torch/serialization.py``, ``_legacy_save``). The pickles are taken apart into their opcodes and never loaded, so a
file can run nothing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_DICTIONARY, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


class _Storage:
    """Values that several tensors may share; they are filled in at the end."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.values: npt.NDArray[Any] = np.zeros(0, self.dtype)


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> None:
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    def array(self) -> npt.NDArray[np.float32]:
        values = self._storage.values[self._offset :]
        strides = [step * values.itemsize for step in self._stride]
        return np.asarray(np.lib.stride_tricks.as_strided(values, self._size, strides), np.float32)


class _Reader:
    """Follows the opcodes of a pickle of numbers, text, dictionaries and tensors; of anything else it says so."""

    def __init__(self, storages: dict[str, _Storage]) -> None:
        self._storages = storages
        self._stack: list[Any] = []
        self._kept: dict[Any, Any] = {}

    def read(self, file: BinaryIO) -> Any:
        """The value of the next pickle of the file."""
        for opcode, argument, _ in pickletools.genops(file):
            self._follow(opcode.name, argument)
        return self._stack.pop()

    def _follow(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in {"PROTO", "STOP"}:
            return
        if name in {"BINPUT", "LONG_BINPUT"}:
            self._kept[argument] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(self._kept[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"}:
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in {"TUPLE1", "TUPLE2", "TUPLE3"}:
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in {"SETITEM", "SETITEMS"}:
            given = self._since_mark() if name == "SETITEMS" else [stack.pop() for _ in "kv"][::-1]
            stack[-1].update(zip(given[::2], given[1::2], strict=True))
        elif name in {"APPEND", "APPENDS"}:
            given = self._since_mark() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(given)
        elif name == "BINPERSID":
            _, kind, key, *_ = stack.pop()
            stack.append(self._storages.setdefault(key, _Storage(_TYPES[kind])))
        elif name == "REDUCE":
            given, kind = stack.pop(), stack.pop()
            stack.append(_Tensor(*given) if kind == _TENSOR else {} if kind == _DICTIONARY else self._refuse(kind))
        elif name == "BUILD":
            stack.pop()  # attributes of the dictionary, such as the version of each layer
        elif argument is not None:  # a number, a text, or the name of what is made
            stack.append(argument)
        else:
            self._refuse(name)

    def _since_mark(self) -> list[Any]:
        place = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        found = self._stack[place + 1 :]
        del self._stack[place:]
        return found

    def _refuse(self, what: str) -> Any:
        raise ValueError(f"{what} is not part of a file of weights")


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Every tensor by its name, as float32.

    Raises
    ------
    ValueError
        If it is another kind of file.
    """
    storages: dict[str, _Storage] = {}
    with path.open("rb") as file:
        try:
            magic, _, _, tensors, keys = (_Reader(storages).read(file) for _ in range(5))
        except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no file of weights ({error})") from error
        if magic != _MAGIC:
            raise ValueError(f"{path} is no file of weights of PyTorch before 1.6")
        for key in keys:
            storage = storages[key]
            count = int.from_bytes(file.read(8), "little")
            storage.values = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
    return {name: tensor.array() for name, tensor in tensors.items()}
