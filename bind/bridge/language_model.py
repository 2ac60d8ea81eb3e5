"""A causal language model that stays frozen: its words as embeddings, and what it writes after embeddings."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from bind.encoders.lora import add_adapter, has_adapter
from bind.encoders.pretrained.sources import opened_source, silent_transformers

TOY = "toy"
TOY_FOLDER = Path(__file__).parent / "toy"
FILES = "config.json, model.safetensors and the tokenizer's files"
MAX_CONTEXT = 4096
"""Tokens, of a model that names no length."""
NUM_SCALE_TOKENS = 1000
"""Of the vocabulary: how large embeddings of words are is measured on so many."""
ATTENTION_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "c_attn", "query_key_value", "qkv_proj")
"""Of the layers that get an adapter, where they are there."""


class LanguageModel(nn.Module):
    """A frozen causal language model of transformers with its tokenizer.

    Args:
        name: `toy`, a hub id, or the folder that it was loaded from.
        model: with a language model's head.
        tokenizer: the model's own.

    Attributes:
        hidden_size: H, the width of embeddings.
        start_ids: what the tokenizer puts before every text, one token or none.
        end_id: the token that ends a text.
        max_tokens: the longest sequence.

    Raises:
        ValueError: where the tokenizer has tokens that the model has no embedding for, or none that ends a text.

    Examples:
        >>> lm = LanguageModel.load("toy")
        >>> lm.hidden_size, lm.encode("a red star"), lm.start_ids
        (128, [66, 366, 342], [])
    """

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.name = name
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer: Any = tokenizer
        embeddings = self.model.get_input_embeddings()
        num_embeddings = int(embeddings.weight.shape[0])
        if (num_tokens := len(tokenizer)) > num_embeddings:
            raise ValueError(
                f"lm={name}: its tokenizer has {num_tokens:,} tokens and the model embeddings for {num_embeddings:,}: "
                "they don't belong together; take both from one folder"
            )
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"lm={name}: its tokenizer has no token that ends a text (eos_token); name one in its files"
            )
        self.end_id = int(self.tokenizer.eos_token_id)
        first_ids = list(self.tokenizer("").input_ids)[:1]
        self.start_ids = first_ids if first_ids == [self.tokenizer.bos_token_id] else []
        config = self.model.config.get_text_config()
        self.hidden_size = int(embeddings.weight.shape[1])
        self.max_tokens = int(getattr(config, "max_position_embeddings", None) or MAX_CONTEXT)
        self.fingerprint = self._hash()
        num_measured = min(NUM_SCALE_TOKENS, num_embeddings)
        with torch.no_grad():
            self.embedding_scale = float(self.embed(torch.arange(num_measured)).float().square().mean().sqrt())

    @classmethod
    def load(cls, name: str, key: str = "lm") -> LanguageModel:
        """Load `toy`, a folder or a model of the hub, in fp32.

        Args:
            key: of the config, for messages.

        Raises:
            ValueError: where there is none, it brings code of its own, or lacks weights.
        """
        source = str(
            TOY_FOLDER if name == TOY else Path(name).expanduser() if Path(name).expanduser().exists() else name
        )
        with opened_source(key, source, files=FILES, loader="AutoModelForCausalLM") as options:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            loader: Any = AutoModelForCausalLM
            model, loading = loader.from_pretrained(
                source,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
        absent = sorted({*loading["missing_keys"], *(str(key[0]) for key in loading["mismatched_keys"])})
        if absent:
            raise ValueError(
                f"{key}={name} lacks {len(absent)} of its {type(model).__name__}'s weights, which would be random "
                f"({', '.join(absent[:3])}): its config.json and its weights don't belong together"
            )
        return cls(name, model, tokenizer)

    def train(self, mode: bool = True) -> LanguageModel:
        """Stay in eval mode: it is frozen."""
        super().train(False)
        return self

    def encode(self, text: str) -> list[int]:
        """Token ids of words in the middle of a sequence, without any that begin or end it."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings (…, H) of token ids (…,), as the model's first layer takes them."""
        embedded: Tensor = self.model.get_input_embeddings()(ids.to(self.device))
        return embedded

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.model.device
        return device

    def forward(self, embeds_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Logits (B, L, V) in fp32 of embeddings, padded where the mask is 0."""
        logits_BLV: Tensor = self.model(inputs_embeds=embeds_BLH, attention_mask=mask_BL, use_cache=False).logits
        return logits_BLV.float()

    @torch.no_grad()
    def write(self, embeds_BLH: Tensor, mask_BL: Tensor, *, max_tokens: int = 40, num_beams: int = 1) -> list[str]:
        """The most likely texts after embeddings that are padded on the left, up to the token that ends a text.

        Args:
            max_tokens: a text that does not end is cut there.
            num_beams: 1: the most likely token at each place.
        """
        with silent_transformers():
            ids_BL = self.model.generate(
                inputs_embeds=embeds_BLH,
                attention_mask=mask_BL,
                generation_config=GenerationConfig(
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    num_beams=num_beams,
                    eos_token_id=self._end_ids(),
                    pad_token_id=self.end_id,
                ),
            )
        return [" ".join(str(text).split()) for text in self.tokenizer.batch_decode(ids_BL, skip_special_tokens=True)]

    def _end_ids(self) -> list[int]:
        """Models that are made for conversations end by other tokens than their tokenizer's."""
        more = self.model.generation_config.eos_token_id
        return sorted({self.end_id, *(more if isinstance(more, list) else [] if more is None else [more])})

    def add_adapter(self, rank: int, targets: Sequence[str] | None = None) -> None:
        """Put a LoRA adapter beside the layers of its attention; it alone trains.

        Raises:
            ValueError: without peft, or where the model has no such layers.
        """
        names = {name.rpartition(".")[2] for name, _ in self.model.named_modules()}
        chosen = list(targets or [name for name in ATTENTION_NAMES if name in names])
        if not chosen:
            raise ValueError(f"lora={rank}: {type(self.model).__name__} has none of {', '.join(ATTENTION_NAMES)}")
        # A model that others use stays as it is.
        self.model = copy.deepcopy(self.model)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")  # of GPT-2's layers: peft sets it right
            add_adapter(self.model, {"r": rank, "alpha": 2 * rank, "targets": chosen}, "lm")

    @property
    def has_adapter(self) -> bool:
        """Whether `add_adapter` was called."""
        return has_adapter(self.model)

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        digest.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        return digest.hexdigest()
