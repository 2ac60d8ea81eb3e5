"""Bridge as a command: from a run's vectors, or an encoder's tokens, to the words of a language model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from bind.bridge.bridge import Bridge
from bind.bridge.conversations import Conversation, read_conversations
from bind.bridge.dialogues import Dialogue, ReadyDialogue
from bind.bridge.gap import TEXT, Gap, choose_memory
from bind.bridge.inputs import MapperInputs, TokensOfValues, width_of_tokens
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.origin import BridgeOrigin
from bind.bridge.places import STATE_NAME
from bind.bridge.progress import ProgressLines
from bind.bridge.remedies import require_choice
from bind.bridge.texts import count_distinct, hold_out
from bind.bridge.training import held_out_losses, train_bridge
from bind.commands.arguments.bridge import OF_TRAINING, read_arguments
from bind.commands.bridge_remedies import remedy_cells
from bind.explain.known import KnownSamples
from bind.files.locks import lock_folder
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.runs.run_config import open_run, run_or_binder
from bind.types import Modality, Source

log = logging.getLogger("bind")

FEW_HELD_OUT = 10
MAX_CAPTIONS = 100_000
"""Of a run's training samples, evenly spaced."""
TEXTS_AT_ONCE = 512


@dataclass(frozen=True)
class Lessons:
    """What is to be said, of which inputs of the mapper: a text for each."""

    inputs: MapperInputs
    texts: Sequence[str]


def bridge(cfg: DictConfig) -> None:
    """Train a bridge and write it: `bindspace bridge run=PATH lm=toy texts=FILE out=FOLDER`.

    Raises:
        ValueError: for a run, texts, a language model, options or a folder that can't be used.
    """
    read = read_arguments(cfg)
    out, options, mapper = read.out, read.options, read.mapper
    gap = Gap(read.remedy, of_modality=read.of_modality)
    texts, needs_captions = read.texts, read.needs_captions
    reads_tokens = "modality" in mapper
    _say(f"open {cfg.binder if cfg.run is None else cfg.run}")
    binder, sources = _open_binder(cfg, needs_captions=needs_captions)
    require_choice(gap.of_modality, binder.modalities)
    if reads_tokens:
        width_of_tokens(binder, mapper["modality"])
    elif TEXT not in binder.modalities:
        raise ValueError(f"a bridge learns of texts, and {binder.anchor.name} embeds none: it needs another anchor")
    elif needs_captions:
        _say("read the captions of the run's training samples")
        texts = _training_captions(sources)
    _say(f"load lm={cfg.lm}")
    lm = LanguageModel.load(str(cfg.lm)).to(best_device())
    conversations: Sequence[Conversation] = ()
    if cfg.instructions is not None:
        conversations = read_conversations(Path(str(cfg.instructions)).expanduser(), binder.modalities)
    with lock_folder(out, "wait until it has ended, or choose another out="):
        torch.manual_seed(options.seed)
        if "num_comparison_tokens" in mapper and not any(len(one.inputs) == 2 for one in conversations):
            mapper = {**mapper, "num_comparison_tokens": 0}  # they would learn nothing, and stand in the way
        trained = Bridge(binder, lm, mapper=mapper, lora=cfg.lora, gap=gap if reads_tokens else None)
        if reads_tokens:
            lessons = _pairs(trained, mapper["modality"], sources if needs_captions else [])
        else:
            lessons = Lessons(embed_texts(binder, texts or []), texts or [])
        _train(cfg, trained, lessons, conversations, gap, sources, options)
        trained.origin = BridgeOrigin.of(str(cfg.binder if cfg.run is None else cfg.run), binder, lessons.texts)
        trained.save(out)
        (out / STATE_NAME).unlink(missing_ok=True)
    if cfg.num_held_out and lessons.texts:
        print(describe_held_out(trained.facts, "values" if reads_tokens else "vectors"))
    if sources and cfg.num_compared and not reads_tokens:
        _say(f"compare remedies for the gap on up to {cfg.num_compared:,} validation samples")
        if cells := remedy_cells(trained, sources, int(cfg.num_compared)):
            print_cells(cells)
    print(f"bridge: {out}")


def describe_held_out(facts: Mapping[str, Any], inputs: str) -> str:
    """A sentence on texts that were not trained on, or on why there are none.

    Examples:
        >>> describe_held_out({"num_distinct_texts": 6, "num_held_out": 0}, "vectors")
        '6 distinct texts: too few to hold some out; how well others are said is not known'
    """
    num_distinct, num = facts["num_distinct_texts"], facts["num_held_out"]
    if not num:
        return f"{num_distinct:,} distinct texts: too few to hold some out; how well others are said is not known"
    few = ", too few to tell much" if num < FEW_HELD_OUT else ""
    return (
        f"{num} of {num_distinct:,} distinct texts were held out{few}: {facts['held_out_loss']:.3f} nats a token from "
        f"their own {inputs}, {facts['other_vector_loss']:.3f} from those of other texts"
    )


def _open_binder(cfg: DictConfig, *, needs_captions: bool) -> tuple[Binder, Sequence[Source]]:
    """The binder, and the sources of its run; none of a binder without one, or where nothing is taken of them."""
    trust = list(cfg.trust)
    if run_or_binder(cfg) == "binder":
        return Binder.load(cfg.binder, trust=trust).to(best_device()), []
    run_dir, config = open_run(cfg.run)
    if not (needs_captions or cfg.num_samples):
        return Binder.load(run_dir, trust=trust).to(best_device()), []
    parts = Parts.load(run_dir, config, trust=trust, device=best_device())
    return parts.binder.eval(), parts.datamodule.sources


def _say(phase: str) -> None:
    """Say what is done next, at once also in a log file."""
    print(phase, flush=True)


def embed_texts(binder: Binder, texts: Sequence[str]) -> Tensor:
    """Unit vectors (N, D) of texts; copies of a text are embedded once."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if not numbers:
        return binder.embed(TEXT, []).float()
    distinct, parts = list(numbers), []
    _say(f"embed {len(distinct):,} distinct texts")
    lines = ProgressLines("text", len(distinct))
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        lines.print_if_due(start)
        parts.append(binder.embed(TEXT, distinct[start : start + TEXTS_AT_ONCE]).float())
    return torch.cat(parts)[[numbers[text] for text in texts]]


def _training_captions(sources: Sequence[Source]) -> list[str]:
    """The first caption of each training sample."""
    captions = KnownSamples.draw(sources, "train", MAX_CAPTIONS)
    texts = captions.values(TEXT, captions.rows_with(TEXT))
    if not texts:
        raise ValueError("the run's training samples have no captions: add texts=FILE, one text a line")
    return [" ".join(str(text).split()) for text in texts]


def _pairs(trained: Bridge, modality: Modality, sources: Sequence[Source]) -> Lessons:
    """The tokens of training samples, and the first caption of each."""
    if not sources:
        return Lessons(TokensOfValues.of(trained.binder, modality, []), [])
    known = KnownSamples.draw(sources, "train", MAX_CAPTIONS)
    with_captions = set(known.rows_with(TEXT))
    rows = [row for row in known.rows_with(modality) if row in with_captions]
    if not rows:
        raise ValueError(f"no training sample of the run has {modality} and a caption: take mapper=mlp, and texts=FILE")
    texts = [" ".join(str(text).split()) for text in known.values(TEXT, rows)]
    inputs = TokensOfValues(
        trained.binder,
        modality,
        lambda numbers: known.values(modality, [rows[number] for number in numbers]),
        [known.samples[row].key for row in rows],
    )
    return Lessons(inputs, texts)


def _train(
    cfg: DictConfig,
    trained: Bridge,
    lessons: Lessons,
    conversations: Sequence[Conversation],
    gap: Gap,
    sources: Sequence[Source],
    options: BridgeTraining,
) -> None:
    limit, lm, texts = int(cfg.max_text_tokens), trained.lm, lessons.texts
    trained_rows, held_out_rows = hold_out(texts, int(cfg.num_held_out), options.seed)
    inputs = lessons.inputs
    if isinstance(inputs, Tensor):
        if sources and cfg.num_samples:
            _say(f"measure the gap on up to {cfg.num_samples:,} training samples")
        means, shifts = measure_gap(trained.binder, sources, int(cfg.num_samples))
        if texts:
            means[TEXT] = inputs.mean(dim=0).cpu()
        memory_ND = choose_memory(inputs[trained_rows]).cpu() if texts else None
        trained.gap = replace(gap, means=means, memory_ND=memory_ND, shifts=shifts)
    ready = _ready(trained, [Dialogue((row,), (("", text),)) for row, text in enumerate(texts)], limit, "texts")
    dialogues = [ready[row] for row in trained_rows]
    if conversations:
        of_conversations, about_inputs = trained.embed_conversations(conversations)
        shifted = [Dialogue(tuple(len(texts) + row for row in one.rows), one.turns) for one in about_inputs]
        dialogues += _ready(trained, shifted, limit, "conversations")
        inputs = _join(inputs, of_conversations)
    if isinstance(inputs, Tensor):
        inputs = inputs.to(lm.device)
    elif isinstance(inputs, TokensOfValues):
        _say(f"compute tokens of {len(inputs):,} samples, up to keep_gb={cfg.keep_gb}")
        inputs.keep(int(cfg.keep_gb * 1e9), show=True)
    _say(f"train for {options.num_steps:,} steps on {len(dialogues):,} texts and conversations")
    train_bridge(
        lm, trained.mapper, inputs, dialogues, options, state_path=Path(cfg.out).expanduser() / STATE_NAME, show=True
    )
    losses = held_out_losses(lm, trained.mapper, lessons.inputs, [ready[row] for row in held_out_rows])
    trained.facts = {
        "num_texts": len(trained_rows),
        "num_distinct_texts": count_distinct(texts),
        "num_instructions": len(conversations),
        "num_held_out": count_distinct(texts[row] for row in held_out_rows),
        "held_out_loss": losses[0] if held_out_rows else None,
        "other_vector_loss": losses[1] if held_out_rows else None,
        **{name: getattr(options, name) for name in OF_TRAINING if name != "save_every_steps"},
    }


def _join(inputs: MapperInputs, others: MapperInputs) -> MapperInputs:
    if isinstance(inputs, TokensOfValues) and isinstance(others, TokensOfValues):
        return inputs.then(others)
    assert isinstance(inputs, Tensor)
    assert isinstance(others, Tensor)
    return torch.cat([inputs, others.float()])


def _ready(trained: Bridge, dialogues: Sequence[Dialogue], max_text_tokens: int, what: str) -> list[ReadyDialogue]:
    """Dialogues in tokens; how many were cut is said."""
    ready = trained.ready(dialogues, max_text_tokens)
    if num_cut := sum(one.is_cut for one in ready):
        log.warning("%d of %d %s are cut at max_text_tokens=%d", num_cut, len(ready), what, max_text_tokens)
    return ready


def measure_gap(
    binder: Binder, sources: Sequence[Source], num_samples: int
) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor]]:
    """What `gap=mean` and `gap=captions` take of training samples, of the modalities that the run's data has.

    Returns:
        Modality → mean (D,) of its vectors; modality → mean (D,) of captions less that of the same samples' vectors.
    """
    if not (sources and num_samples):
        return {}, {}
    known = KnownSamples.draw(sources, "train", num_samples)
    means = {m: known.embed(binder, m).mean(dim=0) for m in binder.modalities if known.has(m)}
    shifts = {}
    of_captions = {row: number for number, row in enumerate(known.rows.get(TEXT, ()))}
    for modality in (m for m in means if m != TEXT):
        pairs = [(n, of_captions[row]) for n, row in enumerate(known.rows[modality]) if row in of_captions]
        if pairs:
            ours, captions = (list(numbers) for numbers in zip(*pairs, strict=True))
            shifts[modality] = known.vectors[TEXT][captions].mean(dim=0) - known.vectors[modality][ours].mean(dim=0)
    return means, shifts
