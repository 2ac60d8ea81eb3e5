"""MTEB: a binder as a model of its benchmarks (extra `mteb`)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from torch.nn.functional import normalize

from bind.model.binder import Binder
from bind.share.sounds import waveform_of

MODALITIES = ("text", "image", "audio", "video")
"""What a batch of MTEB may hold, by these names."""


class BinderEncoder(AbsEncoder):  # type: ignore[misc, unused-ignore]
    """A Binder as MTEB calls a model; items of several modalities are the normalised sum of their vectors.

    Args:
        binder: what embeds.
        name: ORG/NAME, under which MTEB files its results.
    """

    def __init__(self, binder: Binder, name: str) -> None:
        self.binder = self.model = binder
        known = [modality for modality in MODALITIES if modality in binder.modalities]
        facts = {
            "name": name,
            "revision": binder.anchor.fingerprint,
            "modalities": known,
            "embed_dim": binder.dim,
            "similarity_fn_name": ScoringFunction.COSINE,
        }
        self.mteb_model_meta = ModelMeta.create_empty(overwrites=facts)

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any = None, **options: Any) -> Any:
        """Unit vectors (N, D), float32, of batches that map a modality to its values.

        Raises:
            ValueError: where a batch holds nothing that the binder embeds.
        """
        rows = []
        for batch in inputs:
            given = [modality for modality in MODALITIES if modality in batch]
            if not given or not set(given) <= set(self.binder.modalities):
                raise ValueError(
                    f"a task has {', '.join(given) or 'none of ' + ', '.join(MODALITIES)}; this binder embeds "
                    f"{', '.join(self.binder.modalities)}"
                )
            z = [self.binder.embed(m, [_as_value(m, value) for value in batch[m]]) for m in given]
            rows.append(z[0] if len(z) == 1 else normalize(torch.stack(z).sum(dim=0), dim=-1))
        return torch.cat(rows).float().cpu().numpy() if rows else torch.zeros(0, self.binder.dim).numpy()


def _as_value(modality: str, value: Any) -> Any:
    return waveform_of(value) if modality == "audio" and isinstance(value, Mapping) else value


def find_tasks(names: Sequence[str], binder: Binder) -> list[Any]:
    """MTEB's tasks of these names, and one's own as `module:Class`.

    Raises:
        ValueError: for a name that there is not, or a task with a modality that the binder does not embed.
    """
    import mteb

    tasks = []
    for name in names:
        if ":" in name:
            module, _, class_name = name.partition(":")
            try:
                tasks.append(getattr(importlib.import_module(module), class_name)())
            except (ImportError, AttributeError) as error:
                raise ValueError(f"tasks: {name} can't be imported ({error}); give module:Class of a task") from error
            continue
        try:
            tasks.append(mteb.get_task(name))
        except KeyError as error:
            raise ValueError(f"tasks: MTEB has no {name} ({error.args[0]})") from error
    for task in tasks:
        if missing := [m for m in task.metadata.modalities if m not in binder.modalities]:
            raise ValueError(
                f"tasks: {task.metadata.name} has {', '.join(missing)}, which this binder does not embed: it has "
                f"{', '.join(binder.modalities)}"
            )
    return tasks


def evaluate_tasks(binder: Binder, tasks: Sequence[Any], *, name: str, batch_size: int = 64) -> dict[str, Any]:
    """Task → split → scores, as MTEB measures them; nothing is cached.

    Args:
        name: ORG/NAME of the binder in MTEB's results.
    """
    import mteb

    model: Any = BinderEncoder(binder, name)
    results = mteb.evaluate(
        model,
        list(tasks),
        cache=None,
        encode_kwargs={"batch_size": batch_size},
        show_progress_bar=False,
    )
    return {result.task_name: dict(result.scores) for result in results.task_results}
