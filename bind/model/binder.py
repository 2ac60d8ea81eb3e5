"""The Binder: one anchor, one encoder and head per new modality, and perhaps a fusion, in one space."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.data.collate import collate_clips
from bind.encoders.lora import has_adapter, merge_adapter
from bind.encoders.trainable import (
    FULL,
    HEAD,
    is_frozen,
    require_equal_parts,
    set_trained_part,
)
from bind.files.reading import require_regular_file
from bind.files.size import SizeLimit, read_shapes
from bind.files.writing import open_folder_atomically
from bind.fusion.inputs import fused_name
from bind.model.adapter_weights import renamed_for_adapters
from bind.model.build_parts import build_parts
from bind.model.chunks import encode_in_chunks
from bind.model.clips import average_clips
from bind.model.description import (
    CONFIG_VERSION,
    NOT_AS_SAVED,
    WEIGHTS_NAME,
    enclosed_shapes,
    read_description,
)
from bind.model.fuse import add_fused
from bind.model.hub import describe_binder, push_folder
from bind.model.places import CONFIG_NAME
from bind.model.saved_files import locate, read_weights
from bind.model.saving import write_binder
from bind.model.summary import summarise
from bind.model.trunks import share_trunks
from bind.terminal import printable_errors
from bind.types import (
    Batch,
    Clip,
    Embeddings,
    Inputs,
    Modality,
    Transform,
    without_view,
)


class Binder(nn.Module):
    """Embeds every modality it knows into the anchor's space, as unit vectors.

    Args:
        anchor: the frozen model of the space, a module that does what `bind.types.Anchor` says.
        encoders: modality → encoder, (B_m, …) → (B_m, F).
        heads: modality → head, (B_m, F) → unit (B_m, D).
        transforms: modality → transform of a file or value, for `embed`; the anchor adds its own.
        fusion: has `inputs`; a module makes one vector of several, late fusion combines scores only.
        config: the plain dict that `from_config` rebuilds this Binder from; needed by `save`.
        share: modality → the one whose encoder's trunk it uses from now on, see `share_trunks`.
        train: modality → what of its encoder trains, see `set_trained_part`; all of it where it is not named.
        lora: modality → options of its adapter, where that is what trains.

    Raises:
        ValueError: a trunk that can't be shared, `train` that names no part, or inputs of a fusion that nothing embeds.

    Examples:
        >>> import tempfile, numpy as np
        >>> config = {
        ...     "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        ...     "modalities": ["depth"],
        ...     "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8}},
        ...     "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        ...     "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
        ... }
        >>> binder = Binder.from_config(config)
        >>> maps = [np.full((64, 64), metres, np.float32) for metres in (1.0, 4.0)]
        >>> z_depth, z_text = binder.embed("depth", maps), binder.embed("text", ["something near"])
        >>> (z_depth @ z_text.T).shape  # unit vectors of one space: a product is a cosine
        torch.Size([2, 1])
        >>> loaded = Binder.load(binder.save(tempfile.mkdtemp()))
        >>> torch.equal(loaded.embed("depth", maps), z_depth)
        True
    """

    def __init__(
        self,
        anchor: Any,
        encoders: Mapping[Modality, nn.Module],
        heads: Mapping[Modality, nn.Module],
        transforms: Mapping[Modality, Transform],
        *,
        fusion: Any = None,
        config: dict[str, Any] | None = None,
        share: Mapping[Modality, Modality] | None = None,
        train: Mapping[Modality, str] | None = None,
        lora: Mapping[Modality, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor
        # An encoder for the modality of a tower takes its place, also where the anchor's vectors are cached.
        anchor.modalities = tuple(m for m in anchor.modalities if m not in encoders)
        self.share = dict(share or {})
        share_trunks(encoders, self.share)
        self.trained_parts = dict.fromkeys(encoders, FULL) | dict(train or {})
        require_equal_parts(self.trained_parts, self.share)
        for modality, part in self.trained_parts.items():
            set_trained_part(encoders[modality], part, f"encoder.{modality}", (lora or {}).get(modality))
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict(heads)
        self.fusion = fusion
        self.transforms: dict[Modality, Transform] = {**anchor.transforms, **transforms}
        self.config = config
        if missing := [m for m in self.fusion_inputs if m not in self.modalities]:
            raise ValueError(f"fusion.inputs: {missing} have no encoder; known modalities are {self.modalities}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, trust: Sequence[str] = ()) -> Binder:
        """Build from `{"anchor", "modalities", "encoder", "head", "transform", "fusion"}` of plain dicts.

        Raises:
            ValueError: where a chosen modality has no encoder or transform, a part can't be built, a trunk can't be
                shared, or `train` names no part of an encoder.
        """
        parts = build_parts(config, trust)
        of_chosen = {part: {m: config[part][m] for m in config["modalities"]} for part in ("encoder", "transform")}
        kept = {**config, **of_chosen, "version": CONFIG_VERSION}
        return cls(**vars(parts), config=kept)

    def __repr__(self) -> str:
        return summarise(self)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What can be embedded alone: the anchor's modalities, then those with an encoder."""
        return (*self.anchor.modalities, *self.encoders)

    @property
    def fusion_inputs(self) -> tuple[Modality, ...]:
        """The modalities that the fusion is made of, none without a fusion."""
        return tuple(self.fusion.inputs) if self.fusion is not None else ()

    @property
    def fused_modality(self) -> Modality | None:
        """The name of the fusion's output, such as `audio_and_imu`."""
        return fused_name(self.fusion_inputs) if self.fusion is not None else None

    @property
    def dim(self) -> int:
        """D, the anchor's."""
        dim: int = self.anchor.dim
        return dim

    def is_trainable(self, modality: Modality) -> bool:
        """Whether training changes the vectors of `modality`."""
        modality = without_view(modality)
        return modality in self.encoders or modality in self.anchor.trainable

    def encode(self, modality: Modality, inputs: Inputs) -> Tensor:
        """Unit embeddings (B_m, D) of collated `inputs` of one modality."""
        z_BD: Tensor
        if modality in self.encoders:
            z_BD = self.heads[modality](self.encoders[modality](inputs))
        else:
            z_BD = self.anchor.embed(modality, inputs)
        return z_BD

    def encode_batch(self, modality: Modality, inputs: Inputs, chunk_size: int | None) -> Tensor:
        """As `encode`, with the activations of `chunk_size` rows in memory; a frozen encoder keeps none at all."""
        modality = without_view(modality)
        if modality not in self.encoders or not is_frozen(self.encoders[modality]):
            return encode_in_chunks(functools.partial(self.encode, modality), inputs, chunk_size)
        with torch.no_grad():
            features_BF = encode_in_chunks(self.encoders[modality], inputs, chunk_size)
        z_BD: Tensor = self.heads[modality](features_BF)
        return z_BD

    def forward(self, batch: Batch, chunk_size: int | None = None) -> Embeddings:
        """Embed what the batch holds; a modality its source carries but no row has gives (0, D).

        With `chunk_size`, that many rows' activations are in memory at a time, see `encode_in_chunks`.
        """
        z: dict[Modality, Tensor] = {}
        rows: dict[Modality, Tensor] = {}
        for modality in batch.modalities:
            if modality in batch.cached:
                z[modality] = self._embed_cached(modality, batch)
            elif modality in batch.inputs:
                num_clips = batch.num_clips.get(modality)
                # At most as many clips as the batch has rows are in memory, however many clips a row has.
                num_at_once = chunk_size if num_clips is None else chunk_size or len(batch)
                z_m = average_clips(self.encode_batch(modality, batch.inputs[modality], num_at_once), num_clips)
                z[modality] = z_m[: len(batch.rows.get(modality, ()))]  # without a row that was borrowed
            else:
                # Other ranks may have rows: the collectives of the loss, backward too, must still be met here.
                device = batch.group_ids_B.device
                z[modality] = torch.zeros(0, self.dim, device=device, requires_grad=self.is_trainable(modality))
            rows[modality] = batch.rows.get(modality, torch.zeros(0, dtype=torch.long))
        embeddings = Embeddings(z, rows, len(batch))
        if isinstance(self.fusion, nn.Module):  # late fusion combines scores and has no embedding
            add_fused(self.fusion, self.encoders, embeddings, batch)
        return embeddings

    def _embed_cached(self, modality: Modality, batch: Batch) -> Tensor:
        """Unit embeddings of what was computed before: of the anchor's they are these, of a frozen encoder features."""
        vectors = batch.cached[modality]
        if modality not in self.encoders:
            return vectors
        z = average_clips(self.heads[modality](vectors), batch.num_clips.get(modality))
        return z[: len(batch.rows.get(modality, ()))]  # without a row that was borrowed

    @torch.no_grad()
    @printable_errors()
    def embed(self, modality: Modality, values: Iterable[Any], batch_size: int = 64) -> Tensor:
        """Unit vectors (N, D) of files (paths) or values (text, arrays) of one modality, deterministic.

        Raises:
            ValueError: for a modality this Binder does not know, or naming the file that can't be read.
        """
        if isinstance(values, str | Path):
            raise ValueError(f"pass a list of values: binder.embed({modality!r}, [{str(values)!r}])")
        if modality not in self.modalities:
            raise ValueError(f"no encoder for {modality!r}; this binder knows {self.modalities}")
        transform, values = self.transforms[modality], list(values)
        parts = []
        for start in range(0, len(values), batch_size):
            items = [transform(as_value(modality, v), None) for v in values[start : start + batch_size]]
            parts.append(self.embed_items(modality, items, chunk_size=batch_size))
        return torch.cat(parts) if parts else torch.zeros(0, self.dim, device=next(self.parameters()).device)

    @torch.no_grad()
    def embed_items(self, modality: Modality, items: list[Any], *, chunk_size: int | None = None) -> Tensor:
        """Unit vectors (N, D) of what the modality's transform gave of N values, as one batch, deterministic."""
        with self.batch_of(modality, items) as (inputs, num_clips):
            return average_clips(self.encode_batch(modality, inputs, chunk_size), num_clips)

    @contextlib.contextmanager
    def batch_of(self, modality: Modality, items: list[Any]) -> Iterator[tuple[Inputs, Tensor | None]]:
        """What the modality's transform gave of values, collated on this Binder's device, and each value's clips.

        Nothing in this Binder is random as long as it is used; afterwards it trains on, if it did.
        """
        device = next(self.parameters()).device
        was_training = self.training
        try:
            self.eval()
            inputs, num_clips = collate_clips(self.transforms[modality], items)
            inputs = {k: x.to(device) for k, x in inputs.items()} if isinstance(inputs, dict) else inputs.to(device)
            yield inputs, None if num_clips is None else num_clips.to(device)
        finally:
            self.train(was_training)

    def own_state_dict(self) -> dict[str, Tensor]:
        """The weights that belong to this Binder: all but those of towers that stayed as they were loaded.

        A shared trunk has the name of the modality it belongs to.
        """
        left_out = [f"encoders.{modality}.trunk." for modality in self.share]
        if not self.anchor.trainable:
            left_out.append("anchor.")
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(tuple(left_out))}

    def load_own_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights that `own_state_dict` returned.

        Raises:
            ValueError: naming the weights that are missing, unexpected or of another shape.
        """
        expected = set(self.own_state_dict())
        state = renamed_for_adapters(state, self.encoders)
        for modality, owner in self.share.items():
            if any(name.startswith(f"encoders.{modality}.") and name not in expected for name in state):
                raise ValueError(
                    f"these weights hold a trunk for {modality} alone: set encoder.{modality}.share=null, or start "
                    f"with weights that were trained with encoder.{modality}.share={owner}"
                )
        try:
            missing, unexpected = self.load_state_dict(dict(state), strict=False)
        except RuntimeError as error:
            raise ValueError(f"these weights belong to another architecture: {error}") from error
        missing = [name for name in missing if name in expected]
        if missing or unexpected:
            raise ValueError(
                f"these weights belong to another architecture: missing {missing}, unexpected {unexpected}"
            )

    @property
    def adapted(self) -> list[Modality]:
        """The modalities whose encoders have an adapter that is not merged into their weights."""
        return [modality for modality, encoder in self.encoders.items() if has_adapter(encoder)]

    def merge_adapters(self) -> None:
        """Add the adapters to the weights beside them; nothing of them trains any more."""
        for modality in self.adapted:
            merge_adapter(self.encoders[modality])
            set_trained_part(self.encoders[modality], HEAD, f"encoder.{modality}")
            self.trained_parts[modality] = HEAD

    def save(self, folder: Path | str) -> Path:
        """Write weights (safetensors) and config for `Binder.load`, and adapters also apart, for peft.

        The frozen anchor goes by name and fingerprint; one that was loaded from a local folder is copied, so that the
        binder can be loaded where that folder is not. Adapters are merged into the weights, `adapters/MODALITY` holds
        them alone.
        """
        with open_folder_atomically(Path(folder)) as partial:
            write_binder(self, partial)
        return Path(folder)

    def push_to_hub(
        self, repo: str, *, private: bool | None = None, message: str = "Upload a binder", token: str | None = None
    ) -> str:
        """Save into a repository of the hub, from which `Binder.load(repo)` loads it; `bindspace share` adds figures.

        A card that is there stays, and there is a short one where there is none.

        Args:
            repo: ORG/NAME, made where it is not there.
            private: whether a repository that is made is private; None: as the organisation has it.
            message: of the commit.
            token: of an account that may write there; None: the one that `hf auth login` or `HF_TOKEN` has set.

        Returns:
            The repository's address.

        Raises:
            ValueError: where `repo` is no such name, or the hub refuses or can't be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            write_binder(self, Path(folder))
            card = describe_binder(repo, self.anchor.name, list(self.encoders))
            return push_folder(Path(folder), repo, private=private, message=message, token=token, card_if_none=card)

    @classmethod
    @printable_errors()
    def load(cls, path_or_hub_id: Path | str, *, trust: Sequence[str] = ()) -> Binder:
        """Load a run directory, a folder that `save` wrote, or such a folder on the hub.

        Args:
            path_or_hub_id: path of the directory or folder, or NAME/REPOSITORY.
            trust: packages besides `bind` whose classes its config may name, and local folders that it may name as its
                anchor.

        Raises:
            ValueError: where there is nothing to load, a file is damaged, its config names classes or places that are
                not trusted, or the anchor on this machine is not the one it was bound to.
        """
        folder = locate(path_or_hub_id)
        config, about = read_description(folder, trust)
        where = folder / CONFIG_NAME
        require_regular_file(folder / WEIGHTS_NAME)
        shapes = {**read_shapes(folder / WEIGHTS_NAME), **enclosed_shapes(folder)}
        try:
            with SizeLimit(shapes):
                binder = cls.from_config(config, trust=trust)
        except ValueError as error:
            raise ValueError(f"{where}: {error}{'' if about.is_as_saved else f'. The file {NOT_AS_SAVED}'}") from error
        except Exception as error:  # whatever a constructor makes of numbers that it was never given
            raise ValueError(f"{where}: a part of it can't be built ({error}); copy the folder again") from error
        if about.anchor_name:
            binder.anchor.name = about.anchor_name
        if not binder.anchor.trainable and binder.anchor.fingerprint != about.anchor_fingerprint:
            raise ValueError(
                f"{folder} was bound to an anchor with fingerprint {about.anchor_fingerprint}, but "
                f"{binder.anchor.name} here has {binder.anchor.fingerprint}: get the same weights, or train again"
            )
        state = read_weights(folder, about)
        try:
            binder.load_own_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{folder / WEIGHTS_NAME}: {error}") from error
        return binder.eval()


def as_value(modality: Modality, value: Any) -> Any:
    """A value as transforms take it: paths are files, but for texts."""
    if modality != "text" and isinstance(value, str | Path):
        return Clip(Path(value))
    return value
