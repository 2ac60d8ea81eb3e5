"""Anchor of sounds and words: a CLAP model of transformers, to bind sensors to what they sound like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel, AutoTokenizer

from bind.anchors.dual_encoder import account_for_weights, text_tokens
from bind.anchors.frozen import FrozenAnchor
from bind.anchors.model_files import WEIGHTS, enclose_folder, require_family
from bind.anchors.processors import TextTransform
from bind.encoders.pretrained.sources import opened_source
from bind.media.audio import open_audio
from bind.media.notices import warn_once
from bind.media.resample import frames_at, rate_ratio, read_resampled
from bind.media.windows import checked_num_clips, window_starts
from bind.types import Clip, Inputs, Modality, Waveform


class ClapAnchor(FrozenAnchor):
    """CLAP (Wu et al., 2023; `laion/clap-htsat-unfused`): audio and text are its modalities.

    A sound longer than the model's window (10 s) is cut into windows before the feature extractor, which would crop it
    at random, and their unit vectors are averaged; so its vector is always the same.

    Args:
        pretrained: a hub id or a local folder.
        num_clips: windows of a longer sound, evenly spread; None: as many as cover it.
        max_text_tokens: texts are cut and padded to this length; None: that for which the tower was made.

    Raises:
        ValueError: where no CLAP model can be loaded from `pretrained`.
    """

    def __init__(self, pretrained: str, *, num_clips: int | None = 3, max_text_tokens: int | None = None) -> None:
        files = "config.json of a ClapModel, model.safetensors, the tokenizer's files and preprocessor_config.json"
        with opened_source("anchor.pretrained", pretrained, files=files) as options:
            require_family(pretrained, "clap", options)
            extractor = AutoFeatureExtractor.from_pretrained(pretrained, **options)
            tokenizer = AutoTokenizer.from_pretrained(pretrained, **options)
            model, loading = AutoModel.from_pretrained(pretrained, dtype=torch.float32, **WEIGHTS, **options)
        account_for_weights(model, loading, pretrained)
        text_transform = TextTransform(tokenizer, max_text_tokens or text_tokens(model, tokenizer))
        audio_transform = ClapAudioTransform(extractor, checked_num_clips(num_clips))
        super().__init__(pretrained, model.config.projection_dim, {"audio": audio_transform, "text": text_transform})
        self._pretrained = pretrained
        self.text_transform, self.audio_transform = text_transform, audio_transform
        self.model: Any = model
        self.requires_grad_(False)
        self.train()

    def compute_features(self, modality: Modality, inputs: Inputs) -> Tensor:
        """See `FrozenAnchor`; inputs are those of `ClapAudioTransform` and `TextTransform`."""
        assert isinstance(inputs, dict)
        if modality == "text":
            text_features: Tensor = self.model.get_text_features(**inputs).pooler_output
            return text_features
        is_there_BW = inputs["is_there"]
        windows = inputs["input_features"][is_there_BW]
        is_longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=windows.device)
        z_ND = self.model.get_audio_features(input_features=windows, is_longer=is_longer).pooler_output
        rows = is_there_BW.nonzero()[:, 0]
        sums_BD: Tensor = z_ND.new_zeros(len(is_there_BW), z_ND.shape[1])
        sums_BD.index_add_(0, rows, torch.nn.functional.normalize(z_ND, dim=-1))
        return sums_BD

    def describe_preprocessing(self) -> Sequence[str]:
        """The feature extractor, the windows of a long sound, and the tokenizer with its length."""
        transform = self.audio_transform
        windows = f"{transform.num_clips} windows of {transform.num_samples} samples"
        return [transform.extractor.to_json_string(), windows, repr(self.text_transform.fingerprint_parts())]

    def towers(self) -> Sequence[torch.nn.Module]:
        """The model's parts."""
        return list(self.model.children())

    def enclose(self, folder: Path) -> dict[str, Any]:
        """The model's folder, where it was loaded from one."""
        return enclose_folder(self._pretrained, folder)


class ClapAudioTransform:
    """A sound (file, span of one, `Waveform`) → log-mel windows (W, C, T, F) of CLAP's feature extractor.

    Several → `input_features` (B_m, W, C, T, F), filled up with zeros, and `is_there` bool (B_m, W), the windows that
    each has. Sounds are mixed down to one channel and resampled to the extractor's rate; a short one is filled up as
    the extractor does it.

    Raises:
        ValueError: a file that is missing, corrupt, empty or holds NaN, named in the message.
    """

    def __init__(self, extractor: Any, num_clips: int | None) -> None:
        self.extractor, self.num_clips = extractor, num_clips
        self.sample_rate_hz, self.num_samples = int(extractor.sampling_rate), int(extractor.nb_max_samples)

    def __call__(self, value: Clip | Waveform, rng: np.random.Generator | None = None) -> Tensor:
        with open_audio(value) as recording:
            if recording.sample_rate_hz != self.sample_rate_hz:
                source_rate = f"{recording.sample_rate_hz:g} Hz"
                warn_once(f"sound at {source_rate} is resampled to {self.sample_rate_hz} Hz", recording.name)
            ratio = rate_ratio(self.sample_rate_hz, recording.sample_rate_hz, recording.name)
            starts = window_starts(recording.num_frames, frames_at(1 / ratio, self.num_samples), self.num_clips)
            windows = [read_resampled(recording, int(start), self.num_samples, ratio).mean(axis=1) for start in starts]
        features = self.extractor(windows, sampling_rate=self.sample_rate_hz, return_tensors="np")["input_features"]
        return torch.from_numpy(np.asarray(features, np.float32))

    def collate(self, items: list[Tensor]) -> dict[str, Tensor]:
        num_windows = max(map(len, items))
        features = items[0].new_zeros(len(items), num_windows, *items[0].shape[1:])
        is_there_BW = torch.zeros(len(items), num_windows, dtype=torch.bool)
        for row, item in enumerate(items):
            features[row, : len(item)] = item
            is_there_BW[row, : len(item)] = True
        return {"input_features": features, "is_there": is_there_BW}
