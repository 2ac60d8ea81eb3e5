"""LoRA adapters of encoders, by peft: put in, merged into the weights, and files that others can load.

An adapter adds (alpha / r) · B(A(x)) to what a layer gives, A (r, in) random and B (out, r) zero at the start, while
the layer's own weights stay frozen. Source: Hu et al. 2021 (LoRA), equation 3.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.files.plain_data import read_json, require_kinds
from bind.files.reading import reading, require_regular_file
from bind.files.writing import write_text
from bind.types import LayeredEncoder

CONFIG_NAME, WEIGHTS_NAME, PICKLE_NAME = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
"""Of names in peft's files."""
ADAPTER_WEIGHT = re.compile(r"\.lora_(A|B|embedding_A|embedding_B)\.default(\.|$)")
OPTIONS = ("r", "alpha", "dropout", "targets", "adapter")
NAMES_IN_FILE = {"r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "targets"}
OF_NO_CONSEQUENCE = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
)
"""What a file says besides that changes nothing of a trained adapter."""


def add_adapter(encoder: nn.Module, options: Mapping[str, Any], key: str) -> list[nn.Module]:
    """Put an adapter beside layers of `encoder`, in place, and freeze all of it but the adapter.

    Args:
        encoder: any module; where no targets are named it has to be a `LayeredEncoder`.
        options: `r`, the rank; `alpha`; `dropout` on an adapter's input; `targets`, names of layers or the ends of such
            names, None: the projections of the attention and the linear layers of the MLP in all of `layers`;
            `adapter`, a folder of an adapter to start from, with its own rank, alpha and targets.
        key: of the config, for messages.

    Returns:
        The modules that train.

    Raises:
        ValueError: without peft; for options that can't be, or name layers that are not there; for an adapter that
            belongs to another encoder or changes nothing.
    """
    if unknown := [name for name in options if name not in OPTIONS]:
        raise ValueError(f"{key}.lora: unknown {', '.join(unknown)}; it takes {', '.join(OPTIONS)}")
    folder = options.get("adapter")
    chosen = {**options, **_read_config(Path(folder), key)} if folder else dict(options)
    config = _make_config(encoder, chosen, key, folder)
    peft = _import_peft(key)
    try:
        peft.inject_adapter_in_model(config, encoder)
    except ValueError as error:
        raise ValueError(f"{key}.lora: {error}") from error
    for module in encoder.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # Frozen and in eval mode it computes from the weights alone, past the adapter; not where it has a hook.
            module.register_forward_pre_hook(_leave_as_is)
    if folder:
        load_adapter(encoder, Path(folder), key)
    return [m for name, m in encoder.named_modules() if ".lora_" in name]


def _leave_as_is(module: nn.Module, inputs: Any) -> None:
    """Do nothing before a layer is called."""


def has_adapter(encoder: nn.Module) -> bool:
    """Whether an adapter was put in, and not merged since."""
    return "peft_config" in vars(encoder)


def save_adapter(encoder: nn.Module, folder: Path) -> None:
    """Write the adapter in peft's layout into a new folder, from which `PeftModel.from_pretrained` loads it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config: Any = encoder.peft_config["default"]  # type: ignore[index]
    about = {name: sorted(x) if isinstance(x, set) else x for name, x in config.to_dict().items()}
    state = {f"{PREFIX}{name}": x.detach().cpu().contiguous() for name, x in _adapter_weights(encoder).items()}
    save_file(state, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    write_text(folder / CONFIG_NAME, json.dumps(about | {"inference_mode": True}, indent=2, sort_keys=True) + "\n")


def load_adapter(encoder: nn.Module, folder: Path, key: str) -> None:
    """Load the weights of an adapter in peft's layout into the one that `encoder` has.

    Raises:
        ValueError: naming the file, where it can't be read, belongs to another encoder, or changes nothing.
    """
    from safetensors.torch import load_file

    path = folder / WEIGHTS_NAME
    if not path.exists() and (folder / PICKLE_NAME).exists():
        raise ValueError(
            f"{key}.lora.adapter: {folder} has its weights as a pickle ({PICKLE_NAME}), which can hold commands and is "
            f"not read. Get it with {WEIGHTS_NAME}, or save one that you trust again by save_pretrained of peft"
        )
    require_regular_file(path)
    with reading(path, "not readable as safetensors", "Copy the adapter's folder again"):
        state = load_file(path)
    own = {f"{PREFIX}{name}": x for name, x in _adapter_weights(encoder).items()}
    for name in dict.fromkeys([*own, *state]):
        shapes = [tuple(x[name].shape) if name in x else "nothing" for x in (state, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{key}.lora.adapter: {path} is of another encoder: it has {shapes[0]} at {name}, "
                f"{type(encoder).__name__} here {shapes[1]}; take the adapter that was trained with this one"
            )
    if not all(bool(torch.isfinite(x).all()) for x in state.values()):
        raise ValueError(f"{key}.lora.adapter: {path} holds NaN or infinite values: copy the folder again")
    if not any(bool(x.any()) for name, x in state.items() if ".lora_B" in name or ".lora_embedding_B" in name):
        raise ValueError(f"{key}.lora.adapter: all of its lora_B in {path} are 0, so it changes nothing; leave it out")
    with torch.no_grad():
        for name, x in state.items():
            own[name].copy_(x)


def merge_adapter(encoder: nn.Module) -> None:
    """Add the adapter to the weights beside it, in place: layers and their names are those of a plain encoder again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder.named_modules()):
        if not isinstance(module, BaseTunerLayer) or ".base_layer" in name:  # one within another goes with it
            continue
        if hasattr(module, "unload_and_optionally_merge_module"):
            plain = module.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        else:
            module.merge()
            plain = module.get_base_layer()
        parent, _, child = name.rpartition(".")
        setattr(encoder.get_submodule(parent), child, plain)
    del encoder.peft_config


def merged_state_dict(encoder: nn.Module) -> dict[str, Tensor]:
    """The weights of a plain encoder that computes the same, under a plain encoder's names."""
    plain = copy.deepcopy(encoder)
    merge_adapter(plain)
    return plain.state_dict()


def without_adapter(names: Iterable[str]) -> dict[str, str]:
    """The name that each weight of an encoder with an adapter has in a plain one; the adapter's own are left out.

    Examples:
        >>> without_adapter(["trunk.out.base_layer.weight", "trunk.out.lora_A.default.weight", "trunk.norm.bias"])
        {'trunk.out.base_layer.weight': 'trunk.out.weight', 'trunk.norm.bias': 'trunk.norm.bias'}
    """
    return {name: name.replace(".base_layer", "") for name in names if not ADAPTER_WEIGHT.search(name)}


def _import_peft(key: str) -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            f'{key}.train=lora needs peft ({error}): pip install "bindspace[lora]", or set train=last_4 or head'
        ) from error
    return peft


def _make_config(encoder: nn.Module, options: Mapping[str, Any], key: str, folder: str | None) -> Any:
    peft = _import_peft(key)
    r, alpha, dropout = options.get("r", 16), options.get("alpha", 16), options.get("dropout", 0.0)
    if not isinstance(r, int) or isinstance(r, bool) or r < 1:
        raise ValueError(f"{key}.lora.r={r}: give a rank of at least 1, such as 16")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < float("inf"):
        raise ValueError(f"{key}.lora.alpha={alpha}: give a number above 0, such as 16")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"{key}.lora.dropout={dropout}: give a share from 0 to below 1")
    targets = options.get("targets")
    names = default_targets(encoder, key) if targets is None else _named_targets(encoder, targets, key, folder)
    return peft.LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, bias="none")


def default_targets(encoder: nn.Module, key: str) -> list[str]:
    """Names of the linear layers, and of PyTorch's attention, in all of the encoder's `layers`."""
    if not isinstance(encoder, LayeredEncoder):
        raise ValueError(
            f"{key}.train=lora: {type(encoder).__name__} names no layers; give it a method layers(), or name those "
            f"that get an adapter: {key}.lora.targets=[NAME,…]"
        )
    inside = {id(module) for layer in encoder.layers() for module in layer.modules()}
    names: list[str] = []
    for name, module in encoder.named_modules():
        is_part = any(name.startswith(f"{other}.") for other in names)  # of an attention
        if id(module) in inside and isinstance(module, nn.Linear | nn.MultiheadAttention) and not is_part:
            names.append(name)
    if not names:
        raise ValueError(
            f"{key}.train=lora: the layers of {type(encoder).__name__} have no attention and no MLP; train=last_1 "
            f"suits a small encoder, or name layers: {key}.lora.targets=[NAME,…]"
        )
    return names


def _named_targets(encoder: nn.Module, targets: Any, key: str, folder: str | None) -> list[str]:
    """The targets, all of which have to be there; `folder` is that of the adapter that they come from, if any."""
    if not isinstance(targets, list | tuple) or not targets or not all(isinstance(name, str) for name in targets):
        raise ValueError(f"{key}.lora.targets={targets}: give names of layers, such as [qkv,out]")
    there = [name for name, _ in encoder.named_modules() if name]
    for target in targets:
        if any(name == target or name.endswith(f".{target}") for name in there):
            continue
        linear = (name.rpartition(".")[2] for name, m in encoder.named_modules() if isinstance(m, nn.Linear))
        lacks = (
            f"{type(encoder).__name__} has no layer {target!r}; its linear layers end in "
            f"{', '.join(dict.fromkeys(linear)) or 'none'}"
        )
        if folder:
            raise ValueError(
                f"{key}.lora.adapter: {folder} is of another encoder: {lacks}. Take the adapter that was trained with "
                "this one"
            )
        raise ValueError(f"{key}.lora.targets: {lacks}")
    return list(targets)


def _read_config(folder: Path, key: str) -> dict[str, Any]:
    """Rank, alpha, dropout and targets of an adapter in peft's layout; ValueError for what is no plain LoRA."""
    peft = _import_peft(key)
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ValueError(f"{key}.lora.adapter={folder}: no {CONFIG_NAME} there; name a folder in peft's layout")
    kinds: dict[str, Any] = {"peft_type": str, "r": int, "lora_alpha": (int, float), "target_modules": (list, str)}
    about = require_kinds(read_json(path), kinds, str(path))
    plain = peft.LoraConfig().to_dict()
    other = [
        name
        for name, value in about.items()
        if name not in NAMES_IN_FILE and name not in OF_NO_CONSEQUENCE and value and value != plain.get(name)
    ]
    if about["peft_type"] != "LORA" or other:
        raise ValueError(
            f"{path}: {'; '.join(f'{name}={about[name]}' for name in other) or about['peft_type']} is more than plain "
            "LoRA, which is all that is read here; merge it where it was made"
        )
    if isinstance(about["target_modules"], str):
        raise ValueError(f"{path}: target_modules is a pattern; list the names of its layers")
    return {mine: about[name] for name, mine in NAMES_IN_FILE.items() if name in about}


def _adapter_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """By the names that they have in peft's files, less the prefix; they share memory with the encoder."""
    from peft import get_peft_model_state_dict

    weights: dict[str, Tensor] = get_peft_model_state_dict(encoder)
    return weights
