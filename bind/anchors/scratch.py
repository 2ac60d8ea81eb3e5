"""A small dual encoder with random weights: an anchor that is trained rather than loaded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    ConvNextConfig,
    PreTrainedTokenizerFast,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from bind.anchors.dual_encoder import DualEncoder
from bind.types import Modality


class ScratchAnchor(DualEncoder):
    """ConvNeXt image tower and CLIP text tower of any size, with a byte-level tokenizer trained on `corpus`.

    Args:
        corpus: sentences whose words become single tokens; every other text is spelled in bytes.
        dim: D.
        image_size_px: images are resized and centre-cropped to this square.
        image_patch_px: stride of the stem.
        image_widths, image_num_layers: channels and blocks of the four stages.
        text_width, text_num_layers, text_num_heads: of the text tower.
        vocab_size: upper bound for the tokenizer's byte tokens and merges.
        max_text_tokens: texts are cut and padded to this length.
        train: towers to open.
        seed: of the initial weights.

    Source: ConvNeXt (Liu et al., 2022); CLIP's text tower (Radford et al., 2021).
    """

    def __init__(
        self,
        corpus: Sequence[str],
        *,
        dim: int = 64,
        image_size_px: int = 64,
        image_patch_px: int = 4,
        image_widths: Sequence[int] = (32, 64, 128, 160),
        image_num_layers: Sequence[int] = (1, 1, 2, 1),
        text_width: int = 128,
        text_num_layers: int = 2,
        text_num_heads: int = 4,
        vocab_size: int = 1024,
        max_text_tokens: int = 32,
        train: Sequence[Modality] = ("image", "text"),
        seed: int = 0,
    ) -> None:
        tokenizer = byte_level_tokenizer(corpus, vocab_size, max_text_tokens)
        config = VisionTextDualEncoderConfig.from_vision_text_configs(
            ConvNextConfig(
                patch_size=image_patch_px,
                image_size=image_size_px,
                hidden_sizes=list(image_widths),
                depths=list(image_num_layers),
                # VisionTextDualEncoder needs a width, which ConvNextConfig lacks.
                hidden_size=image_widths[-1],  # type: ignore[call-arg]
                layer_scale_init_value=1.0,
            ),
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=text_width,
                intermediate_size=4 * text_width,
                num_hidden_layers=text_num_layers,
                num_attention_heads=text_num_heads,
                max_position_embeddings=max_text_tokens,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
            projection_dim=dim,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = VisionTextDualEncoderModel(config)
        size = {"height": image_size_px, "width": image_size_px}
        image_processor = CLIPImageProcessorPil(size={"shortest_edge": image_size_px}, crop_size=size)
        super().__init__("scratch", model, tokenizer, image_processor, train=train, max_text_tokens=max_text_tokens)


def byte_level_tokenizer(corpus: Sequence[str], vocab_size: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE tokenizer that encodes any text.

    The end token gets the largest id: CLIP's text tower pools at the end token, and with small ids a legacy rule in
    transformers would make it read up to another word instead.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(sorted(corpus), trainer)
    tokenizer.add_special_tokens(["<pad>", "<start>", "<end>"])
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<start>", "<end>")]
    assert ends[1][1] == tokenizer.get_vocab_size() - 1
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
    )
