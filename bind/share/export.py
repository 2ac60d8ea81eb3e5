"""Encoders of a binder as files for other runtimes, each checked with the runtime that it is for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from bind.evaluation.label_sets import LabelSet
from bind.files.writing import open_folder_atomically, remove_failed_start, write_bytes, write_text
from bind.model.binder import Binder
from bind.model.clips import average_clips
from bind.share import as_executorch, as_onnx, as_torch
from bind.share.card import describe_folder, describe_transform
from bind.share.graph import EncoderGraph, ExportedEncoder, shortened, takes_any_length
from bind.types import Modality

FORMATS: dict[str, ModuleType] = {"onnx": as_onnx, "executorch": as_executorch, "torch": as_torch}
GOLDEN_FILE, PROMPTS_FILE, CARD_FILE = "golden.npz", "prompts.npz", "card.json"
NUM_GOLDEN = 8
ROWS_AT_ONCE = 64
LARGEST_DIFFERENCE = 1e-4
SMALLEST_COSINE_INT8 = 0.99
LARGEST_LOSS_INT8 = 0.01
"""What a file may differ by: its unit vectors in fp32; in 8 bits their cosine, and zero-shot accuracy."""


@dataclass(frozen=True)
class Examples:
    """What an encoder is given of real samples of one modality.

    Attributes:
        inputs: name → (N, …), fp32 tensors; of several clips of a sample a row each.
        num_clips: int64 (V,) rows per sample, None where each has one.
        labels: of the V samples; empty where they have none.
    """

    inputs: Mapping[str, Tensor]
    num_clips: Tensor | None = None
    labels: Sequence[str | None] = ()

    @property
    def num_rows(self) -> int:
        """N."""
        return len(next(iter(self.inputs.values())))


def export_encoders(
    binder: Binder,
    examples: Mapping[Modality, Examples],
    folder: Path,
    *,
    to: str,
    int8: bool = False,
    label_sets: Sequence[LabelSet] = (),
) -> dict[str, Any]:
    """Write a file per modality of `examples`, their golden vectors, the vectors of class prompts and a card.

    Args:
        binder: whose encoders and heads.
        examples: modality → inputs that the files are checked with.
        folder: a new folder.
        to: `onnx`, `executorch` or `torch`.
        int8: write, beside each file of ONNX, one with weights in 8 bits.
        label_sets: classes whose prompts the folder holds vectors of.

    Returns:
        The card, as `card.json` has it.

    Raises:
        ValueError: for a format that there is not or whose extra is missing, and where a file differs from the binder.
    """
    if to not in FORMATS:
        raise ValueError(f"to={to}: choose {', '.join(FORMATS)}")
    if int8 and to != "onnx":
        raise ValueError(f"int8=true is there for to=onnx; with to={to}, quantize with that runtime's own tools")
    FORMATS[to].require_runtime()
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"out={folder} is not empty: choose a new folder")
    binder = binder.eval()
    prompts = {s.name: s.embed(lambda texts: binder.embed("text", texts)) for s in label_sets}
    with remove_failed_start(folder), open_folder_atomically(folder) as partial:
        golden: dict[str, np.ndarray] = {}
        encoders = {}
        for modality, of_modality in examples.items():
            sets = {s.name: (s, prompts[s.name]) for s in label_sets if modality in s.modalities}
            entry, arrays = _export(binder, modality, of_modality, partial, FORMATS[to], int8, sets)
            encoders[modality] = entry
            golden |= arrays
        _write_arrays(partial / GOLDEN_FILE, golden)
        _write_arrays(partial / PROMPTS_FILE, {name: z_KD.numpy() for name, z_KD in prompts.items()})
        card = {
            "format": to,
            "anchor": {"name": binder.anchor.name, "fingerprint": binder.anchor.fingerprint},
            "dim": binder.dim,
            "encoders": encoders,
            "prompts": {s.name: {"classes": list(s.classes), "modalities": list(s.modalities)} for s in label_sets},
        }
        write_text(partial / CARD_FILE, json.dumps(card, indent=2) + "\n")
        write_text(partial / "README.md", describe_folder(card))
    return card


def _export(
    binder: Binder,
    modality: Modality,
    examples: Examples,
    folder: Path,
    form: ModuleType,
    int8: bool,
    label_sets: Mapping[str, tuple[LabelSet, Tensor]],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The files of one modality: its entry of the card and its golden arrays."""
    graph = EncoderGraph(binder, modality, tuple(examples.inputs))
    with torch.no_grad():
        z_ND = _embed(binder, modality, examples)
        traced = [x[:2] if len(x) > 1 else torch.cat([x, x]) for x in examples.inputs.values()]
        any_length = takes_any_length(graph, traced)
        file = folder / f"{modality}{form.SUFFIX}"
        form.write(graph, traced, file, any_length=any_length)
        exported = form.open_file(file)
        check = _compare(exported, examples, z_ND, label_sets)
        if any_length and form is not as_executorch:
            short = dict(zip(examples.inputs, shortened(traced), strict=True))
            difference = float((exported(short) - graph(*short.values())).abs().max())
            check["max_difference"] = max(check["max_difference"], difference)
    if check["max_difference"] > LARGEST_DIFFERENCE:
        raise ValueError(
            f"{file.name} differs from the binder by {check['max_difference']:.1e} in its unit vectors, more than "
            f"{LARGEST_DIFFERENCE:g}: nothing was written. Choose another format for {modality}"
        )
    entry = {
        "file": file.name,
        "inputs": [
            {"name": name, "shape": _named_axes(x, any_length, form), "dtype": str(x.dtype).removeprefix("torch.")}
            for name, x in examples.inputs.items()
        ],
        "output": {"name": "z", "shape": ["batch", binder.dim]},
        "transform": describe_transform(binder, modality),
        "parameters": sum(p.numel() for p in graph.parameters()),
        "megabytes": round(file.stat().st_size / 1e6, 3),
        "check": {"runtime": form.runtime(), "rows": examples.num_rows, **check},
    }
    if int8:
        small = folder / f"{modality}.int8{form.SUFFIX}"
        as_onnx.write_int8(file, small)
        check = _compare(form.open_file(small), examples, z_ND, label_sets)
        entry["int8"] = {"file": small.name, "megabytes": round(small.stat().st_size / 1e6, 3), "check": check}
        _require_close_int8(small.name, check)
    arrays = {f"{modality}_{name}": x[:NUM_GOLDEN].numpy() for name, x in examples.inputs.items()}
    return entry, arrays | {f"{modality}_z": z_ND[:NUM_GOLDEN].numpy()}


def _embed(binder: Binder, modality: Modality, examples: Examples) -> Tensor:
    """What the binder itself makes of the rows, (N, D) on the CPU in fp32."""
    device = next(binder.parameters()).device
    inputs = {name: x.to(device) for name, x in examples.inputs.items()}
    values = inputs if list(inputs) != ["x"] else inputs["x"]
    return binder.encode_batch(modality, values, ROWS_AT_ONCE).float().cpu()


def _compare(
    exported: ExportedEncoder,
    examples: Examples,
    z_ND: Tensor,
    label_sets: Mapping[str, tuple[LabelSet, Tensor]],
) -> dict[str, Any]:
    """How far the vectors of a file are from those of the binder, and what both classify right."""
    z_file_ND = torch.cat(
        [
            exported({name: x[start : start + ROWS_AT_ONCE] for name, x in examples.inputs.items()})
            for start in range(0, examples.num_rows, ROWS_AT_ONCE)
        ]
    )
    figures: dict[str, Any] = {
        "max_difference": float((z_file_ND - z_ND).abs().max()),
        "smallest_cosine": float(cosine_similarity(z_file_ND, z_ND).min()),
    }
    if examples.labels:
        figures["zero_shot"] = {
            name: {
                "binder": _top1(average_clips(z_ND, examples.num_clips), z_KD, label_set, examples.labels),
                "file": _top1(average_clips(z_file_ND, examples.num_clips), z_KD, label_set, examples.labels),
            }
            for name, (label_set, z_KD) in label_sets.items()
            if any(label_set.has_class_of(label) for label in examples.labels)
        }
    return figures


def _top1(z_VD: Tensor, z_KD: Tensor, label_set: LabelSet, labels: Sequence[str | None]) -> float:
    """Share of the samples with a class whose nearest class is one of theirs."""
    members_VK = label_set.members(labels)
    is_right_V = members_VK[torch.arange(len(z_VD)), (z_VD @ z_KD.T).argmax(dim=1)]
    return float(is_right_V[members_VK.any(dim=1)].float().mean())


def _require_close_int8(name: str, check: Mapping[str, Any]) -> None:
    if check["smallest_cosine"] < SMALLEST_COSINE_INT8:
        raise ValueError(
            f"{name}: cosine {check['smallest_cosine']:.3f} with the binder's vectors, less than "
            f"{SMALLEST_COSINE_INT8}: nothing was written. Export without int8=true"
        )
    for label_set, top1 in check.get("zero_shot", {}).items():
        if top1["binder"] - top1["file"] > LARGEST_LOSS_INT8:
            raise ValueError(
                f"{name}: {label_set} falls from {top1['binder']:.3f} to {top1['file']:.3f} in 8 bits, by more than "
                f"{LARGEST_LOSS_INT8}: nothing was written. Export without int8=true"
            )


def _named_axes(x: Tensor, any_length: bool, form: ModuleType) -> list[int | str]:
    """The shape of an input as the file takes it: a name for an axis of any size."""
    if form is as_executorch:
        return [1, *x.shape[1:]]
    return ["batch", *x.shape[1:-1], *(["time"] if any_length else x.shape[-1:] if x.ndim > 1 else [])]


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # np.savez has arguments of its own, which a name may equal
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, content.getbuffer())
