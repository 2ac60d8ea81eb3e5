"""Files of published weights: read as tensors only, and every tensor of them used or named."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bind.files.reading import reading, require_regular_file

GET_IT_AGAIN = "Get the file again, and check that it is whole"
ZIP_MARK, PICKLE_MARK = b"PK", b"\x80"
"""What a file of torch.save begins with, since 1.6 and before."""


def read_published_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file by name, mapped from it rather than copied.

    Raises:
        ValueError: naming the file, where it is damaged, or holds more than tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading(path, "not readable as safetensors", GET_IT_AGAIN):
            return load_file(path)
    require_regular_file(path, "Name the file of the weights itself")
    with path.open("rb") as file:
        start = file.read(2)
    if start != ZIP_MARK:
        if start[:1] != PICKLE_MARK:
            raise ValueError(f"{path}: no file that torch.save wrote. {GET_IT_AGAIN}")
        raise ValueError(
            f"{path}: in torch's format before 1.6, which can't be mapped into memory. Write it again: python -c "
            f"\"import torch; torch.save(torch.load('{path}', weights_only=True), 'NEW.pth')\""
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:  # torch's text advises to load it with its code
        raise ValueError(
            f"{path}: damaged, or it holds more than tensors, which can be commands and is not read. Get the published "
            "file of the weights alone, or a .safetensors file of them"
        ) from error
    except Exception as error:  # torch has no common class for what a file is not
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not readable as weights ({reason}). {GET_IT_AGAIN}") from error
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        inside = ", ".join(map(str, list(state)[:5])) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path}: holds {inside}, not tensors by name. Get the published file of the weights alone")
    return state


class PublishedWeights:
    """Tensors of a file by name, each taken once; what nothing took is an error.

    Args:
        path: of the file, for messages.
        model: whose they are, for messages.
    """

    def __init__(self, state: Mapping[str, Tensor], path: Path, model: str) -> None:
        self.path, self.model = path, model
        self._left = dict(state)
        self._absent: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """The names that nothing has taken."""
        return iter(self._left)

    def take(self, name: str, num_axes: int | None = None) -> Tensor:
        """The tensor `name` in fp32, of `num_axes` axes.

        Raises:
            ValueError: where it is absent, has other axes, or holds NaN or infinite values.
        """
        if name not in self._left:
            raise ValueError(
                f"{self.path}: lacks {name}, which every {self.model} has; it is another file or an incomplete one. "
                f"{GET_IT_AGAIN}"
            )
        tensor = self._left.pop(name).float()
        if num_axes is not None and tensor.ndim != num_axes:
            raise ValueError(
                f"{self.path}: {name} has the shape {tuple(tensor.shape)} and {num_axes} axes in {self.model}; it is "
                "another model's file"
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{self.path}: {name} holds NaN or infinite values. {GET_IT_AGAIN}")
        return tensor

    def discard(self, name: str) -> Tensor:
        """Take a tensor that has no use here, whatever it holds."""
        if name not in self._left:
            self.take(name)
        return self._left.pop(name)

    def num_layers(self, prefix: str) -> int:
        """How many layers `prefix` + number + `.` there are.

        Raises:
            ValueError: where there is none, or a number is left out.
        """
        numbers = {n.removeprefix(prefix).split(".")[0] for n in self._left if n.startswith(prefix)}
        if not numbers or numbers != {str(i) for i in range(len(numbers))}:
            raise ValueError(
                f"{self.path}: its layers {prefix}N are {', '.join(sorted(numbers)) or 'absent'}, not 0, 1, …; it is "
                f"no {self.model}, or an incomplete one. {GET_IT_AGAIN}"
            )
        return len(numbers)

    def require_all_taken(self) -> None:
        """Raise ValueError, naming some, where tensors are left that nothing has taken."""
        if left := sorted(self._left):
            raise ValueError(
                f"{self.path}: holds {len(left)} tensors that {self.model} does not have ({', '.join(left[:3])}"
                f"{', …' if len(left) > 3 else ''}), so it is another model. Get {self.model}'s published file"
            )
