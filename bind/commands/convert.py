"""The job of `bindspace convert`: published weights become a binder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bind.commands.arguments.convert import read_arguments
from bind.commands.checkout import CONFIG_DIR
from bind.commands.values import read_flag, read_number
from bind.model.convert_imagebind import ENCODERS, IMAGEBIND_NUM_HEADS, convert_imagebind
from bind.model.convert_languagebind import LANGUAGEBIND_ANCHOR, MODEL_TYPES, convert_languagebind
from bind.model.licence import IMAGEBIND, LANGUAGEBIND


def main(arguments: list[str]) -> None:
    """Convert as the command line says; print what was written, what was not used, and the licence.

    Raises:
        ValueError: for an option that there is not, or a file that can't be converted.
    """
    parsed = read_arguments(arguments)
    CONVERSIONS[parsed.model](parsed.source, parsed.out, parsed.options)


def convert_imagebind_file(source: Path, out: Path, options: Mapping[str, str]) -> None:
    """The command `bindspace convert imagebind`."""
    num_heads = {m: f"num_heads.{m}" for m in IMAGEBIND_NUM_HEADS}
    require_known(options, ["half", "tokenizer", *num_heads.values()])
    binder = convert_imagebind(
        source,
        out,
        published_parts("imagebind_huge", ENCODERS),
        num_heads={m: read_number(key, options[key]) for m, key in num_heads.items() if key in options},
        half=read_flag("half", options.get("half", "false")),
        tokenizer=options.get("tokenizer"),
    )
    print(f"anchor {binder.anchor.fingerprint}, {binder.dim} dimensions; encoders: {', '.join(binder.encoders)}")
    print("not used: the causal mask of the text tower, which CLIP has by itself, and the fixed scales of outputs")
    print(f"licence of {IMAGEBIND.summary()}")
    print(f"binder: {out}")


def convert_languagebind_folder(source: Path, out: Path, options: Mapping[str, str]) -> None:
    """The command `bindspace convert languagebind`."""
    require_known(options, ["anchor"])
    parts = published_parts("languagebind", tuple(MODEL_TYPES.values()))
    try:
        binder, notes = convert_languagebind(source, out, parts, anchor=options.get("anchor", LANGUAGEBIND_ANCHOR))
    except ValueError as error:  # which calls the option by the key that it has in a config
        raise ValueError(str(error).replace("anchor.pretrained=", "anchor=")) from error
    print(f"anchor {binder.anchor.fingerprint}, {binder.dim} dimensions; encoders: {', '.join(binder.encoders)}")
    print("\n".join(notes))
    print(f"licence of {LANGUAGEBIND.summary()}")
    print(f"binder: {out}")


CONVERSIONS: dict[str, Callable[[Path, Path, Mapping[str, str]], None]] = {
    "imagebind": convert_imagebind_file,
    "languagebind": convert_languagebind_folder,
}


@lru_cache(maxsize=2)
def published_parts(name: str, modalities: tuple[str, ...]) -> dict[str, Any]:
    """The parts that published weights are for, from the choices `name` of the configs."""
    choices = [f"encoder/{modality}={name}" for modality in modalities]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("train", choices)
    parts = {name: OmegaConf.to_container(config[name], resolve=False) for name in ("encoder", "transform", "head")}
    resolved = OmegaConf.to_container(OmegaConf.create(parts), resolve=True)
    assert isinstance(resolved, dict)
    return {str(name): part for name, part in resolved.items()}


def require_known(options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise ValueError for an option that is none of `known`."""
    if unknown := [key for key in options if key not in known]:
        raise ValueError(f"{unknown[0]}: no such option; there are {', '.join(known)}")
