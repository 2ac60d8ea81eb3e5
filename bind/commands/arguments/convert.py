"""Arguments of `bindspace convert`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

MODELS = ("imagebind", "languagebind")
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


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for an option that is no KEY=VALUE.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace convert", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=MODELS, help="whose weights they are")
    parser.add_argument("source", type=Path, metavar="FILE", help="the published weights, a file or folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help="see above")
    parsed = parser.parse_args(arguments)
    parsed.options = read_options(parsed.options)
    return parsed


def read_options(words: Sequence[str]) -> dict[str, str]:
    """KEY → VALUE; ValueError for a word that is no such pair.

    Examples:
        >>> read_options(["half=true", "num_heads.audio=4"])
        {'half': 'true', 'num_heads.audio': '4'}
    """
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"{wrong[0]}: give options as KEY=VALUE; bindspace convert --help lists them")
    return {key: value for key, _, value in (word.partition("=") for word in words)}
