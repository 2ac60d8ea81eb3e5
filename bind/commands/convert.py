"""The job of `bindspace convert`: published weights become a binder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bind.commands.cli import CONFIG_DIR
from bind.model.convert_imagebind import ENCODERS, IMAGEBIND_NUM_HEADS, convert_imagebind
from bind.model.convert_languagebind import LANGUAGEBIND_ANCHOR, MODEL_TYPES, convert_languagebind
from bind.model.licence import IMAGEBIND, LANGUAGEBIND

DESCRIPTION = """\
Turn published weights into a binder: a folder for Binder.load, bindspace embed binder=OUT, bindspace evaluate
binder=OUT and init_from=OUT. The licence of the weights is printed, and lies in the folder.

bindspace convert imagebind FILE OUT [KEY=VALUE ...]
bindspace convert languagebind FOLDER OUT [anchor=...]

of imagebind:
  FILE                   imagebind_huge.pth, or the .safetensors of a mirror with the same names
  OUT                    a new folder; its folder anchor is the CLIP: anchor=clip anchor.pretrained=OUT/anchor
  half=true              the weights of the CLIP in 16 bits: half the size, another anchor than the one in 32 bits
  tokenizer=FOLDER       a transformers folder (or hub id) with CLIP's tokenizer, where open_clip is not installed
  num_heads.audio=12     heads of attention, which weights do not tell, of models of other sizes than the published one:
                         num_heads.{audio,depth,thermal,imu,image,text}

of languagebind:
  FOLDER                 a checkpoint of audio, depth, thermal or video, as the hub has it (config.json, and
                         pytorch_model.bin or model.safetensors), or a folder with such folders in it, one per modality
  OUT                    a new folder
  anchor=FOLDER          the CLIP that it was made from, a folder or hub id of transformers; its text tower is compared.
                         Without it laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K

Examples:
  bindspace convert imagebind imagebind_huge.pth models/imagebind
  bindspace convert languagebind LanguageBind_Audio_FT models/languagebind anchor=CLIP-ViT-L-14-DataComp.XL-s13B-b90K
"""


def main(arguments: list[str]) -> None:
    """Convert as the command line says; print what was written, what was not used, and the licence.

    Raises:
        ValueError: for an option that there is not, or a file that can't be converted.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace convert", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=list(MODELS), help="whose weights they are")
    parser.add_argument("source", type=Path, metavar="FILE", help="the published weights, a file or folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help="see above")
    parsed = parser.parse_args(arguments)
    MODELS[parsed.model](parsed.source, parsed.out, read_options(parsed.options))


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


MODELS: dict[str, Callable[[Path, Path, Mapping[str, str]], None]] = {
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


def read_options(words: Sequence[str]) -> dict[str, str]:
    """KEY → VALUE; ValueError for a word that is no such pair.

    Examples:
        >>> read_options(["half=true", "num_heads.audio=4"])
        {'half': 'true', 'num_heads.audio': '4'}
    """
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"{wrong[0]}: give options as KEY=VALUE; bindspace convert --help lists them")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def require_known(options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise ValueError for an option that is none of `known`."""
    if unknown := [key for key in options if key not in known]:
        raise ValueError(f"{unknown[0]}: no such option; there are {', '.join(known)}")


def read_number(key: str, value: str) -> int:
    """A whole number above 0; ValueError for anything else."""
    if not value.isascii() or not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{key}={value}: give a whole number above 0")
    return int(value)


def read_flag(key: str, value: str) -> bool:
    """`true` or `false`; ValueError for anything else."""
    if value.lower() not in ("true", "false"):
        raise ValueError(f"{key}={value}: give true or false")
    return value.lower() == "true"
