"""sentence-transformers: a shared binder as its first and only module (extra `sentence-transformers`).

`SentenceTransformer(FOLDER, trust_remote_code=True)` builds the class that the folder's `modules.json` names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentence_transformers.base.modality import infer_batch_modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from bind.data.collate import collate_clips
from bind.model.binder import Binder
from bind.model.clips import average_clips
from bind.model.saving import write_binder
from bind.share.sounds import waveform_of
from bind.types import Clip, Modality

CHUNK_SIZE = 64


class BinderModule(InputModule):  # type: ignore[misc, unused-ignore]
    """A Binder as the input module of sentence-transformers: values of one modality → unit vectors (B, D).

    Texts, pictures (PIL, uint8 arrays, paths) and sounds (`{"array": (T,) or (C, T), "sampling_rate": Hz}`, paths) are
    recognised. Any other value needs its modality: `encode(["walk.csv"], modality="imu")`, or `{"imu": "walk.csv"}`.

    Args:
        binder: what embeds.
    """

    forward_kwargs = {"modality"}  # noqa: RUF012 - as the base class has it

    def __init__(self, binder: Binder) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.binder = binder

    @property
    def modalities(self) -> list[Any]:
        """What the binder embeds."""
        return list(self.binder.modalities)

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, modality: Modality | None = None, **options: Any
    ) -> dict[str, Any]:
        """Read and transform values of one modality.

        Raises:
            ValueError: for a modality that the binder does not know, or naming the file that can't be read.
        """
        name = modality or self._modality_of(inputs)
        if name not in self.binder.modalities:
            raise ValueError(f"no encoder for {name!r}; this binder knows {', '.join(self.binder.modalities)}")
        values = [_as_value(name, value) for value in inputs]
        if prompt and name == "text":
            values = [f"{prompt}{value}" for value in values]
        transform = self.binder.transforms[name]
        collated, num_clips = collate_clips(transform, [transform(value, None) for value in values])
        return {"modality": name, "inputs": collated, "num_clips": num_clips}

    def _modality_of(self, inputs: Sequence[Any]) -> Modality:
        named = {key for value in inputs if isinstance(value, Mapping) and len(value) == 1 for key in value}
        if len(named) == 1 and all(isinstance(value, Mapping) and len(value) == 1 for value in inputs):
            return str(named.pop())
        return str(infer_batch_modality(list(inputs), supported_modalities=self.modalities))

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, unit vectors (B, D)."""
        device = next(self.binder.parameters()).device
        inputs, num_clips = features["inputs"], features["num_clips"]
        inputs = {k: x.to(device) for k, x in inputs.items()} if isinstance(inputs, Mapping) else inputs.to(device)
        z_BD = self.binder.encode_batch(features["modality"], inputs, None if self.training else CHUNK_SIZE)
        features["sentence_embedding"] = average_clips(z_BD, None if num_clips is None else num_clips.to(device))
        return features

    def get_embedding_dimension(self) -> int:
        """D."""
        return self.binder.dim

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **options: Any) -> None:
        """Write the binder's files."""
        write_binder(self.binder, Path(output_path))

    @classmethod
    def load(  # type: ignore[override, unused-ignore]
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        *,
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> BinderModule:
        """Load the binder of a folder, or of a repository on the hub.

        Args:
            model_kwargs: `{"trust": ["mypackage"]}`, packages besides bind whose classes its config may name.
        """
        folder = cls.load_dir_path(
            model_name_or_path,
            subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        return cls(Binder.load(folder or model_name_or_path, trust=(model_kwargs or {}).get("trust", ())))


def _as_value(modality: Modality, value: Any) -> Any:
    """What a transform of bind takes, for what sentence-transformers is given."""
    if isinstance(value, Mapping) and set(value) == {modality}:
        value = value[modality]
    if isinstance(value, Mapping) and {"array", "sampling_rate"} <= set(value):
        return waveform_of(value)
    if modality != "text" and isinstance(value, str | Path):
        return Clip(Path(value))
    return value.numpy() if isinstance(value, Tensor) else value
