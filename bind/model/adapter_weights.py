"""Low-rank adapters in files of weights: added to published ones, and the names that saved ones have beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bind.encoders.lora import has_adapter, without_adapter

WRAPPER, PART_A, PART_B = "base_model.model.", ".lora_A.default.weight", ".lora_B.default.weight"
"""Names that peft gives to a module that it wraps, and to the two factors beside a weight."""


def merge_lora(state: dict[str, Tensor], alpha: float, path: Path) -> int:
    """Replace, in `state`, every weight with an adapter by W + (alpha / r) · B · A, under the name without adapter.

    Where the file is mapped into memory, only these weights are computed and copied.

    Args:
        alpha: of the adapter; r is the number of A's rows.
        path: of the file, for messages.

    Returns:
        How many weights had an adapter.

    Raises:
        ValueError: where a factor lacks its other one or its weight, or their shapes do not belong together.

    Source: LoRA (Hu et al. 2021), equation 3; names of peft.
    """
    for name in [name for name in state if WRAPPER in name or ".base_layer." in name]:
        plain = name.replace(WRAPPER, "").replace(".base_layer.", ".")
        if plain in state:
            raise ValueError(f"{path}: holds {plain} twice, with an adapter and without. Get the published file")
        state[plain] = state.pop(name)
    merged = [name.removesuffix(PART_A) for name in state if name.endswith(PART_A)]
    for module in merged:
        if absent := [name for name in (module + PART_B, module + ".weight") if name not in state]:
            raise ValueError(f"{path}: {module} has an adapter and lacks {absent[0]}. Get the file again")
        a_RI, b_OR = state.pop(module + PART_A).float(), state.pop(module + PART_B).float()
        w_OI = state[module + ".weight"].float()
        if a_RI.ndim != 2 or b_OR.ndim != 2 or len(a_RI) != b_OR.shape[1]:
            raise ValueError(f"{path}: the factors of {module}'s adapter are {tuple(a_RI.shape)}, {tuple(b_OR.shape)}")
        if w_OI.shape != (len(b_OR), a_RI.shape[1]):
            raise ValueError(f"{path}: the adapter of {module} does not fit its weight of {tuple(w_OI.shape)}")
        state[module + ".weight"] = w_OI + alpha / len(a_RI) * (b_OR @ a_RI)
    if alone := [name for name in state if ".lora_" in name]:
        raise ValueError(f"{path}: {alone[0]} is no factor of an adapter with both and a weight. Get the file again")
    return len(merged)


def renamed_for_adapters(state: Mapping[str, Tensor], encoders: nn.ModuleDict) -> dict[str, Tensor]:
    """`state` of a binder, where weights of plain encoders have the names that they have beside an adapter.

    Raises:
        ValueError: where it holds an adapter that `encoders` lack.
    """
    state = dict(state)
    for modality, encoder in encoders.items():
        prefix = f"encoders.{modality}."
        of_modality = [name for name in state if name.startswith(prefix)]
        is_adapted = len(without_adapter(of_modality)) < len(of_modality)
        if is_adapted and not has_adapter(encoder):
            raise ValueError(
                f"these weights hold an adapter for {modality}: set encoder.{modality}.train=lora, or start from the "
                "run directory or the saved binder, where it is merged"
            )
        if has_adapter(encoder) and not is_adapted:
            own = encoder.state_dict()
            names = {plain: name for name, plain in without_adapter(own).items()}
            renamed = {f"{prefix}{names.get(n.removeprefix(prefix), n)}": state.pop(n) for n in of_modality}
            adapter = {f"{prefix}{name}": x for name, x in own.items() if name not in names.values()}
            state |= renamed | adapter
    return state
