"""Small folders of every family of pretrained encoders, with random weights, written by transformers itself."""

import numpy as np
import torch
import transformers as t

from bind.types import Waveform

WIDTH = 16
LAYERS = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def whisper():
    config = t.WhisperConfig(
        d_model=WIDTH,
        num_mel_bins=8,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_source_positions=50,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        begin_suppress_tokens=None,
    )
    return t.WhisperForConditionalGeneration(config), t.WhisperFeatureExtractor(feature_size=8, chunk_length=1)


def write(family, folder, seed=0):
    """Save a model of the family and its feature extractor into `folder`; the folder as text."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, *processors = family()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(seed)))
    model.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return str(folder)


def sounds(*seconds, rate_hz=16_000):
    """A waveform of noise of each length."""
    rng = np.random.default_rng(0)
    return [Waveform((0.1 * rng.standard_normal(round(rate_hz * s))).astype(np.float32), rate_hz) for s in seconds]


def collated(transform, values):
    return transform.collate([transform(value, None) for value in values])
