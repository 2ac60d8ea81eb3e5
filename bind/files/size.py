"""Limits of what a saved binder may ask for: numbers of its config, and weights that its file does not hold.

A width of a billion in a text file of a kilobyte would take all memory before anything is compared with the weights
beside it. What is made of a description therefore counts as it is made, against what the file of weights states.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from bind.files.plain_data import parse_json, require_kinds
from bind.files.reading import reading

MAX_HEADER_BYTES = 10**8
"""Of a safetensors file, as its own reader has it."""
SPARE_VALUES, SPARE_TENSORS = 2**26, 1000
"""What buffers and the toy anchor may take besides the weights: 256 MiB."""
MAX_NUMBER = 2**24
MAX_BY_UNIT = {"seconds": 3600, "px": 2**13, "seed": 2**64, "hz": 10**7, "value": 1e12, "clipping": 1e12}
"""By the last word of a name; `…_value` and `…_clipping` are no sizes, and models have 1e9 and 1e10 there."""
MAX_COUNT = 2**14
"""Of what is called `num_…`."""
FROM_SIZE = frozenset(
    [
        "empty",
        "zeros",
        "ones",
        "full",
        "rand",
        "randn",
        "randint",
        "empty_strided",
        "new_empty",
        "new_zeros",
        "new_ones",
        "new_full",
        "repeat",
    ]
)
FROM_NUMBERS = frozenset(["arange", "linspace", "logspace", "hann_window", "hamming_window", "eye"])
"""Operations that make a tensor by a size, and by numbers that are at least its length."""


def require_bounded_numbers(config: Any, where: str, name: str = "") -> None:
    """Raise ValueError, naming `where`, for a number in a config that nothing can be built or read with.

    Examples:
        >>> require_bounded_numbers({"audio": {"width": 64, "window_seconds": 10.0, "train": True}}, "binder.json")
        >>> require_bounded_numbers({"audio": {"num_layers": 1_000_000}}, "binder.json")
        Traceback (most recent call last):
        ValueError: binder.json: audio.num_layers is 1000000, more than 16384
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            require_bounded_numbers(value, where, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list | tuple):
        for value in config:
            require_bounded_numbers(value, where, name)
    elif isinstance(config, int | float):
        last = name.rsplit(".", 1)[-1]
        default = MAX_COUNT if last.startswith("num_") else MAX_NUMBER
        limit = MAX_BY_UNIT.get(last.rsplit("_", 1)[-1], default)
        if not abs(config) <= limit:
            raise ValueError(f"{where}: {name} is {config}, more than {limit}")


def read_shapes(path: Path) -> dict[str, Sequence[int]]:
    """Name → shape of the tensors in a safetensors file, by its header alone.

    Raises:
        ValueError: naming the file, where it is none, or states more than it holds.
    """
    with reading(path, "not readable as safetensors", "Copy the folder again"), path.open("rb") as file:
        num_bytes = path.stat().st_size
        size = struct.unpack("<Q", file.read(8))[0]
        if size > min(MAX_HEADER_BYTES, num_bytes - 8):
            raise ValueError(f"its header states {size} bytes of {num_bytes}")
        header = require_kinds(parse_json(file.read(size), str(path)), {}, str(path))
        shapes = {}
        for name, about in header.items():
            if name != "__metadata__":
                shape = require_kinds(about, {"shape": list, "data_offsets": list}, f"{path}: {name}")["shape"]
                if not all(isinstance(length, int) and length >= 0 for length in shape) or math.prod(shape) > num_bytes:
                    raise ValueError(f"{name} states the shape {shape} in a file of {num_bytes} bytes")
                shapes[name] = shape
        return shapes


class SizeLimit(TorchDispatchMode):
    """Refuses to make more tensors, or larger ones, than the weights in a file and a little more need.

    Args:
        shapes: of those weights.

    Raises:
        ValueError: in the block, before the memory is taken.

    Examples:
        >>> import torch
        >>> with SizeLimit({"a": [3, 4]}):
        ...     layer = torch.nn.Linear(4, 3)
        >>> with SizeLimit({"a": [3, 4]}):
        ...     layer = torch.nn.Linear(10**9, 10**9)
        Traceback (most recent call last):
        ValueError: it asks for tensors of 1,000,000,000,000,000,000 values, and its weights have 12
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_weights = sum(math.prod(shape) for shape in shapes.values())
        self.num_values_left = 4 * self.num_weights + SPARE_VALUES
        self.num_tensors_left = 8 * len(shapes) + SPARE_TENSORS

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, where it does not make a tensor that is too much."""
        kwargs = kwargs or {}
        num_values = 0 if getattr(kwargs.get("device"), "type", None) == "meta" else _num_new_values(func, args)
        if num_values:
            self.num_values_left -= num_values
            self.num_tensors_left -= 1
            if self.num_values_left < 0:
                raise ValueError(
                    f"it asks for tensors of {num_values:,} values, and its weights have {self.num_weights:,}"
                )
            if self.num_tensors_left < 0:
                raise ValueError("it asks for many more tensors than its weights are")
        return func(*args, **kwargs)


def _num_new_values(func: Any, args: Sequence[Any]) -> int:
    """How many values a tensor has that an operation makes of nothing, or of smaller ones; 0 for any other."""
    name = func.overloadpacket.__name__
    tensors = [x for x in args if isinstance(x, Tensor)]
    if torch.Tag.pointwise in func.tags and len(tensors) > 1:
        num_values = math.prod(torch.broadcast_shapes(*(x.shape for x in tensors)))
        return num_values if num_values > max(x.numel() for x in tensors) else 0
    if name in FROM_SIZE:
        size = next((x for x in args if isinstance(x, list | tuple)), ())
        return math.prod(size) * (tensors[0].numel() if name == "repeat" else 1)
    if name in FROM_NUMBERS:
        return sum(abs(int(x)) for x in args if isinstance(x, int | float))
    return 0


@contextlib.contextmanager
def limited_by_file(path: Path) -> Iterator[None]:
    """What is built in the block counts against the weights in this file, not against those of a block around it.

    For a part with a file of weights that is read as the part is built, such as an anchor in a saved binder.
    """
    with _disable_current_modes(), SizeLimit(read_shapes(path)):
        yield
