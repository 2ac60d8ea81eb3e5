"""The Binder: one anchor, one encoder and head per new modality, and perhaps a fusion, in one space."""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.build import build, locate_class
from bind.data.collate import collate_clips
from bind.encoders.lora import has_adapter, merge_adapter, merged_state_dict, save_adapter
from bind.encoders.trainable import (
    FULL,
    HEAD,
    LORA,
    is_frozen,
    options_of_training,
    require_equal_parts,
    set_trained_part,
)
from bind.files.reading import require_regular_file
from bind.files.size import SizeLimit, read_shapes
from bind.files.writing import open_folder_atomically, write_text
from bind.fusion.inputs import fused_name
from bind.model.adapter_weights import renamed_for_adapters
from bind.model.chunks import encode_in_chunks
from bind.model.clips import average_clips
from bind.model.description import (
    CONFIG_NAME,
    CONFIG_VERSION,
    NOT_AS_SAVED,
    WEIGHTS_NAME,
    describe_with_anchor,
    enclosed_shapes,
    read_description,
)
from bind.model.encoder_and_head import build_encoder_and_head, named_by, token_widths
from bind.model.hub import describe_binder, push_folder
from bind.model.saved_files import locate, read_weights
from bind.model.summary import summarise
from bind.model.trunks import share_trunks
from bind.terminal import printable_errors
from bind.types import (
    Batch,
    Clip,
    Embeddings,
    Inputs,
    LoadedPart,
    Modality,
    TokenEncoder,
    TokenFusion,
    Transform,
    without_view,
)

ADAPTERS_FOLDER = "adapters"


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
        anchor = build(config["anchor"], "anchor", trust=trust)
        chosen = config["modalities"]
        encoders, heads, transforms, share, train, lora = {}, {}, {}, {}, {}, {}
        for modality in chosen:
            for part in ("encoder", "transform"):
                if not config[part].get(modality):
                    known = sorted(m for m, options in config[part].items() if options)
                    close = difflib.get_close_matches(str(modality), known, n=1)
                    hint = f"did you mean {close[0]}? If not, " if close else ""
                    raise ValueError(
                        f"modalities={list(chosen)}: {modality} has no {part}; {hint}add one with "
                        f"+{part}/{modality}=NAME (known: {', '.join(known)})"
                    )
            options = dict(config["encoder"][modality])
            if owner := options.pop("share", None):
                share[modality] = owner
            train[modality], lora[modality] = options_of_training(options)
            with named_by(f"encoder.{modality}"):
                encoders[modality], heads[modality] = build_encoder_and_head(
                    options, config["head"], anchor, trust=trust
                )
            with named_by(f"transform.{modality}"):
                transforms[modality] = build(config["transform"][modality], "transform", trust=trust)
        fusion = None
        fusion_config = config.get("fusion") or {}
        if fusion_config.get("_target_"):
            if len(fusion_config.get("inputs") or []) < 2:
                raise ValueError("fusion.inputs needs at least two modalities, for example fusion.inputs=[audio,imu]")
            taken = inspect.signature(locate_class(fusion_config["_target_"], "fusion", trust)).parameters
            extra = {"dim": anchor.dim, "token_widths": token_widths(fusion_config["inputs"], encoders, train)}
            arguments = {name: value for name, value in extra.items() if name in taken}
            fusion = build(fusion_config, "fusion", trust=trust, **arguments)
        of_chosen = {part: {m: config[part][m] for m in chosen} for part in ("encoder", "transform")}
        kept = {**config, **of_chosen, "version": CONFIG_VERSION}
        return cls(anchor, encoders, heads, transforms, fusion=fusion, config=kept, share=share, train=train, lora=lora)

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
            self._fuse(embeddings, batch)
        return embeddings

    def _embed_cached(self, modality: Modality, batch: Batch) -> Tensor:
        """Unit embeddings of what was computed before: of the anchor's they are these, of a frozen encoder features."""
        vectors = batch.cached[modality]
        if modality not in self.encoders:
            return vectors
        z = average_clips(self.heads[modality](vectors), batch.num_clips.get(modality))
        return z[: len(batch.rows.get(modality, ()))]  # without a row that was borrowed

    def _fuse(self, embeddings: Embeddings, batch: Batch) -> None:
        inputs = [m for m in self.fusion_inputs if m in embeddings.z]
        if len(inputs) < len(self.fusion_inputs):
            return
        assert self.fusion is not None
        assert self.fused_modality is not None
        z_full, present = {}, {}
        for modality in inputs:
            (z_RD,), rows_R = embeddings.aligned([modality])
            device = z_RD.device
            places = rows_R.to(device, non_blocking=True)
            z_full[modality] = z_RD.new_zeros(embeddings.num_rows, self.dim).index_copy(0, places, z_RD)
            present[modality] = torch.zeros(embeddings.num_rows, dtype=torch.bool)
            present[modality][rows_R] = True
        rows = torch.stack(list(present.values())).any(dim=0).nonzero().flatten()
        any_R = rows.to(device, non_blocking=True)
        z_R = {m: z[any_R] for m, z in z_full.items()}
        present_R = {m: p[rows].to(device, non_blocking=True) for m, p in present.items()}
        if isinstance(self.fusion, TokenFusion):
            tokens = {m: self._tokens(m, batch, embeddings) for m in self.fusion.token_widths}
            tokens_R = {m: (x_BLF[any_R], mask_BL[any_R]) for m, (x_BLF, mask_BL) in tokens.items()}
            embeddings.z[self.fused_modality] = self.fusion(z_R, present_R, tokens_R)
        else:
            embeddings.z[self.fused_modality] = self.fusion(z_R, present_R)
        embeddings.rows[self.fused_modality] = rows

    def _tokens(self, modality: Modality, batch: Batch, embeddings: Embeddings) -> tuple[Tensor, Tensor]:
        """Tokens (B, L, F) of a modality for every row of the batch, and which are there; of a row without it none."""
        if modality in batch.num_clips:
            raise ValueError(f"fusion=qformer takes one window of a sample: set transform.{modality}.num_clips=1")
        assert isinstance(self.fusion, TokenFusion)
        device, num_rows = batch.group_ids_B.device, embeddings.num_rows
        if modality not in batch.inputs:  # other ranks may have rows: its weights are met here too
            x_B1F = torch.zeros(num_rows, 1, self.fusion.token_widths[modality], device=device)
            return x_B1F, torch.zeros(num_rows, 1, dtype=torch.bool, device=device)
        encoder = self.encoders[modality]
        assert isinstance(encoder, TokenEncoder)
        x_RLF, mask_RL = encoder.tokens(batch.inputs[modality])
        num_values = len(batch.rows.get(modality, ()))  # without a row that was borrowed
        rows = {modality: embeddings.rows[modality]}
        (x_RLF,), places = Embeddings({modality: x_RLF[:num_values]}, rows, num_rows).aligned([modality])
        (mask_RL,), _ = Embeddings({modality: mask_RL[:num_values]}, rows, num_rows).aligned([modality])
        places = places.to(device, non_blocking=True)
        tokens = x_RLF.new_zeros(num_rows, *x_RLF.shape[1:]).index_copy(0, places, x_RLF)
        return tokens, mask_RL.new_zeros(num_rows, mask_RL.shape[1]).index_copy(0, places, mask_RL)

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
        device = next(self.parameters()).device
        was_training = self.training
        try:
            self.eval()
            inputs, num_clips = collate_clips(self.transforms[modality], items)
            inputs = {k: x.to(device) for k, x in inputs.items()} if isinstance(inputs, dict) else inputs.to(device)
            z_ND = self.encode_batch(modality, inputs, chunk_size)
            return average_clips(z_ND, None if num_clips is None else num_clips.to(device))
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
            self.write_into(partial)
        return Path(folder)

    def write_into(self, folder: Path) -> None:
        """As `save`, file by file into a folder that is there, and may hold the anchor already."""
        from safetensors.torch import save_file

        if self.config is None:
            raise ValueError("this Binder has no config to save: build it with Binder.from_config")
        own = self.own_state_dict()
        for modality in self.adapted:
            prefix = f"encoders.{modality}."
            merged = merged_state_dict(self.encoders[modality])
            own = {name: tensor for name, tensor in own.items() if not name.startswith(prefix)}
            own |= {f"{prefix}{name}": tensor for name, tensor in merged.items()}
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in own.items()}
        save_file(state, folder / WEIGHTS_NAME)
        for modality in self.adapted:
            save_adapter(self.encoders[modality], folder / ADAPTERS_FOLDER / modality)
        described = describe_with_anchor(self._saved_config(), self.anchor, folder)
        write_text(folder / CONFIG_NAME, json.dumps(described, indent=2) + "\n")

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
            self.write_into(Path(folder))
            card = describe_binder(repo, self.anchor.name, list(self.encoders))
            return push_folder(Path(folder), repo, private=private, message=message, token=token, card_if_none=card)

    def _saved_config(self) -> dict[str, Any]:
        """The config, in which parts that were made of files are described without them."""
        assert self.config is not None
        parts: dict[str, Any] = {"encoder": self.encoders, "transform": self.transforms}
        saved = {
            kind: {
                m: options | parts[kind][m].saved_arguments() if isinstance(parts[kind][m], LoadedPart) else options
                for m, options in self.config[kind].items()
            }
            for kind in parts
        }
        for modality, part in self.trained_parts.items():
            options = saved["encoder"][modality]
            if part == LORA or "lora" in options:  # which may name a folder
                saved["encoder"][modality] = {**options, "lora": None, "train": FULL if part == LORA else part}
        return {**self.config, **saved}

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
