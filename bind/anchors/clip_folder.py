"""Folders of CLIP models as transformers reads them, written from weights of other layouts."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    PreTrainedTokenizerBase,
)

from bind.encoders.pretrained.sources import silent_transformers

NUM_CLIP_TOKENS = 49408
START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"
NUM_MERGES = NUM_CLIP_TOKENS - 2 * 256 - 2
"""The vocabulary: each byte, each byte at the end of a word, what two tokens merge into, and two special tokens."""


def write_clip_folder(
    folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor], *, tokenizer: str | None, half: bool
) -> None:
    """Write a `CLIPModel` with CLIP's image processor and tokenizer where `PretrainedAnchor` finds them.

    Args:
        config: `text_config`, `vision_config` and what else `CLIPConfig` takes.
        state: weights by transformers' names; what is mapped from a file is not copied.
        tokenizer: folder or hub id of a CLIP tokenizer; None: see `clip_tokenizer`.
        half: round the weights to 16 bits.

    Raises:
        ValueError: for weights that are missing, unknown or of another shape, or where no tokenizer is at hand.
    """
    clip_config = CLIPConfig(**config)
    require_clip_weights(clip_config, state)
    with silent_transformers():
        loaded_tokenizer = clip_tokenizer() if tokenizer is None else read_tokenizer(tokenizer)
        folder.mkdir(parents=True)
        dtype = torch.float16 if half else torch.float32
        clip_config.architectures, clip_config.dtype = ["CLIPModel"], dtype
        clip_config.save_pretrained(folder)
        weights = {name: x.detach().to(dtype).contiguous() for name, x in state.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        loaded_tokenizer.save_pretrained(folder)
        vision: Any = clip_config.vision_config
        size_px: int = vision.image_size
        CLIPImageProcessorPil(
            size={"shortest_edge": size_px}, crop_size={"height": size_px, "width": size_px}
        ).save_pretrained(folder)


def complete_tower_sizes(sizes: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The sizes `names` of a CLIP image tower, of which some are given, by the names of `CLIPVisionConfig`.

    Raises:
        Exception: of transformers, for values that a config can't have.
    """
    config = CLIPVisionConfig(**sizes)
    return {name: getattr(config, name) for name in names}


def require_clip_weights(config: CLIPConfig, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError, naming weights, unless `state` is that of a `CLIPModel` of this config."""
    with torch.device("meta"):
        shapes = {name: tuple(x.shape) for name, x in CLIPModel(config).state_dict().items()}
    wrong = sorted({name for name, shape in shapes.items() if name not in state or tuple(state[name].shape) != shape})
    wrong += sorted(set(state) - set(shapes))
    if wrong:
        raise ValueError(
            f"these weights are not those of a CLIP with such towers: {len(wrong)} are missing, unknown or of another "
            f"shape ({', '.join(wrong[:3])}, …)"
        )


def read_tokenizer(place: str) -> PreTrainedTokenizerBase:
    """A CLIP tokenizer from a folder or the hub; ValueError where there is none or its vocabulary is another one."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, local_files_only=Path(place).exists(), trust_remote_code=False
        )
    except Exception as error:  # transformers, tokenizers and the hub's client have no common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"tokenizer={place} can't be loaded ({reason}): name a folder with tokenizer.json or vocab.json and "
            "merges.txt of a CLIP, such as one that holds openai/clip-vit-base-patch32"
        ) from error
    end = tokenizer.convert_tokens_to_ids(END_TOKEN)
    if not isinstance(tokenizer, CLIPTokenizer) or len(tokenizer) != NUM_CLIP_TOKENS or end != NUM_CLIP_TOKENS - 1:
        raise ValueError(
            f"tokenizer={place} is a {type(tokenizer).__name__} of {len(tokenizer)} tokens, not CLIP's of "
            f"{NUM_CLIP_TOKENS}: name the folder of a CLIP, such as one that holds openai/clip-vit-base-patch32"
        )
    return tokenizer


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer from the vocabulary that the package open_clip carries, which is not imported for it.

    Raises:
        ValueError: where open_clip is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    path = Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ValueError(
            'CLIP\'s vocabulary is not at hand: pip install "bindspace[open_clip]", which has it, or pass '
            "tokenizer=FOLDER, any transformers folder of a CLIP, such as one that holds openai/clip-vit-base-patch32"
        )
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1 : NUM_MERGES + 1]]
    bytes_as_text = list(byte_characters())
    words = [*bytes_as_text, *(c + "</w>" for c in bytes_as_text), *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate([*words, START_TOKEN, END_TOKEN])}
    assert len(vocabulary) == NUM_CLIP_TOKENS
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary, in its order: printable ones first.

    Source: GPT-2 (Radford et al. 2019), whose vocabularies have no blanks and control characters.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
