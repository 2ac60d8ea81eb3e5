"""Bridge as a command: from the vectors of a run to the words of a language model, learned of texts alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from bind.bridge.bridge import Bridge
from bind.bridge.conversations import read_conversations
from bind.bridge.dialogues import Dialogue, ReadyDialogue
from bind.bridge.gap import TEXT, Gap, choose_memory, require_remedy
from bind.bridge.language_model import LanguageModel
from bind.bridge.saved import CONFIG_NAME
from bind.bridge.texts import hold_out, read_texts
from bind.bridge.training import STATE_NAME, BridgeTraining, held_out_losses, train_bridge
from bind.evaluation.embed import best_device
from bind.explain.known import KnownSamples
from bind.files.locks import LOCK, lock_folder
from bind.model.binder import Binder
from bind.runs.directory import open_run, run_or_binder
from bind.runs.parts import Parts
from bind.types import Modality, Source

log = logging.getLogger("bind")

OF_TRAINING = ("num_steps", "batch_size", "lr", "weight_decay", "noise", "seed", "save_every_steps")
MIN_TEXT_TOKENS = 2
MAX_CAPTIONS = 100_000
"""Of a run's training samples, evenly spaced."""


def bridge(cfg: DictConfig) -> None:
    """Train a bridge and write it: `bindspace bridge run=PATH lm=toy texts=FILE out=FOLDER`.

    Raises:
        ValueError: for a run, texts, a language model, options or a folder that can't be used.
    """
    out = Path(cfg.out).expanduser()
    _require_free(out, overwrite=bool(cfg.overwrite))
    options = BridgeTraining(**{name: cfg[name] for name in OF_TRAINING})
    require_remedy(str(cfg.gap))
    for name, least in (("max_text_tokens", MIN_TEXT_TOKENS), ("num_held_out", 0), ("num_samples", 0)):
        if not isinstance(cfg[name], int) or isinstance(cfg[name], bool) or cfg[name] < least:
            raise ValueError(f"{name}={cfg[name]}: give a whole number of at least {least}")
    texts = None if cfg.texts is None else read_texts(Path(str(cfg.texts)).expanduser())
    binder, sources = _open_binder(cfg, needs_captions=texts is None and cfg.instructions is None)
    if TEXT not in binder.modalities:
        raise ValueError(f"a bridge learns of texts, and {binder.anchor.name} embeds none: it needs another anchor")
    if texts is None and cfg.instructions is None:
        texts = _training_captions(sources)
    lm = LanguageModel.load(str(cfg.lm)).to(best_device())
    with lock_folder(out, "wait until it has ended, or choose another out="):
        trained = _train(cfg, binder, lm, texts or [], sources, options)
        trained.save(out)
        (out / STATE_NAME).unlink(missing_ok=True)
    facts = trained.facts
    if facts["num_held_out"]:
        print(
            f"{facts['num_held_out']} texts that were held out: {facts['held_out_loss']:.3f} nats a token from their "
            f"own vectors, {facts['other_vector_loss']:.3f} from those of other texts"
        )
    print(f"bridge: {out}")


def _require_free(out: Path, *, overwrite: bool) -> None:
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.is_file() or (names - {STATE_NAME, LOCK} and CONFIG_NAME not in names):
        raise ValueError(f"out={out}: holds something else; name a new folder")
    if CONFIG_NAME in names and not overwrite:
        raise ValueError(f"out={out}: holds a finished bridge; name another folder, or add overwrite=true")


def _open_binder(cfg: DictConfig, *, needs_captions: bool) -> tuple[Binder, Sequence[Source]]:
    """The binder, and the sources of its run; none of a binder without one, or where nothing is taken of them."""
    trust = list(cfg.trust)
    if run_or_binder(cfg) == "binder":
        if needs_captions:
            raise ValueError("binder= has no data of its own: add texts=FILE, one text a line")
        if cfg.gap == "mean":
            raise ValueError("gap=mean needs training samples, which a binder has not: pass run=PATH, or another gap=")
        return Binder.load(cfg.binder, trust=trust).to(best_device()), []
    run_dir, config = open_run(cfg.run)
    if not (needs_captions or cfg.num_samples):
        return Binder.load(run_dir, trust=trust).to(best_device()), []
    parts = Parts.load(run_dir, config, trust=trust, device=best_device())
    return parts.binder.eval(), parts.datamodule.sources


def _training_captions(sources: Sequence[Source]) -> list[str]:
    """The first caption of each training sample."""
    captions = KnownSamples.draw(sources, "train", MAX_CAPTIONS)
    texts = captions.values(TEXT, captions.rows_with(TEXT))
    if not texts:
        raise ValueError("the run's training samples have no captions: add texts=FILE, one text a line")
    return [" ".join(str(text).split()) for text in texts]


def _train(
    cfg: DictConfig,
    binder: Binder,
    lm: LanguageModel,
    texts: Sequence[str],
    sources: Sequence[Source],
    options: BridgeTraining,
) -> Bridge:
    out = Path(cfg.out).expanduser()
    limit = int(cfg.max_text_tokens)
    mapper: Any = OmegaConf.to_container(cfg.mapper, resolve=True)
    torch.manual_seed(options.seed)
    trained = Bridge(binder, lm, mapper=mapper, lora=cfg.lora)
    z_ND = binder.embed(TEXT, texts).float()
    trained_rows, held_out_rows = hold_out(len(texts), int(cfg.num_held_out), options.seed)
    means = mean_of_modalities(binder, sources, int(cfg.num_samples))
    trained.gap = Gap(
        str(cfg.gap),
        {**means, **({TEXT: z_ND.mean(dim=0).cpu()} if texts else {})},
        choose_memory(z_ND[trained_rows]).cpu() if texts else None,
    )
    ready = _ready(trained, [Dialogue((row,), (("", text),)) for row, text in enumerate(texts)], limit, "texts")
    dialogues = [ready[row] for row in trained_rows]
    num_instructions = 0
    if cfg.instructions is not None:
        conversations = read_conversations(Path(str(cfg.instructions)).expanduser(), binder.modalities)
        z_MD, about_inputs = trained.embed_conversations(conversations)
        shifted = [Dialogue(tuple(len(z_ND) + row for row in one.rows), one.turns) for one in about_inputs]
        dialogues += _ready(trained, shifted, limit, "conversations")
        z_ND, num_instructions = torch.cat([z_ND, z_MD.float()]), len(conversations)
    z_ND = z_ND.to(lm.device)
    train_bridge(lm, trained.mapper, z_ND, dialogues, options, state_path=out / STATE_NAME, show=True)
    losses = held_out_losses(lm, trained.mapper, z_ND[: len(texts)], [ready[row] for row in held_out_rows])
    trained.facts = {
        "num_texts": len(trained_rows),
        "num_instructions": num_instructions,
        "num_held_out": len(held_out_rows),
        "held_out_loss": losses[0] if held_out_rows else None,
        "other_vector_loss": losses[1] if held_out_rows else None,
        **{name: getattr(options, name) for name in OF_TRAINING if name != "save_every_steps"},
    }
    return trained


def _ready(trained: Bridge, dialogues: Sequence[Dialogue], max_text_tokens: int, what: str) -> list[ReadyDialogue]:
    """Dialogues in tokens; how many were cut is said."""
    ready = trained.ready(dialogues, max_text_tokens)
    if num_cut := sum(one.is_cut for one in ready):
        log.warning("%d of %d %s are cut at max_text_tokens=%d", num_cut, len(ready), what, max_text_tokens)
    return ready


def mean_of_modalities(binder: Binder, sources: Sequence[Source], num_samples: int) -> dict[Modality, Tensor]:
    """Modality → mean (D,) of the vectors of training samples, of those that the run's data has."""
    if not (sources and num_samples):
        return {}
    known = KnownSamples.draw(sources, "train", num_samples)
    return {m: known.embed(binder, m).mean(dim=0) for m in binder.modalities if known.has(m)}
