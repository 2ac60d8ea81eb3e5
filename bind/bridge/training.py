"""Training of a bridge: a plain loop in one process that can be stopped after any step and goes on from there.

What is drawn in a step is a function of the seed and the step, so that a training that was stopped ends with the same
weights as one that was not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bind.bridge.dialogues import NO_LABEL, ReadyDialogue, assemble, centre_questions
from bind.bridge.inputs import MapperInputs, fingerprint_inputs, take_with_noise
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.progress import ProgressLines
from bind.files.reading import reading
from bind.files.writing import write_bytes

WARMUP_SHARE = 0.05
BETAS = (0.9, 0.98)
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight, besides the number of the step."""


def train_bridge(
    lm: LanguageModel,
    mapper: nn.Module,
    inputs: MapperInputs,
    dialogues: Sequence[ReadyDialogue],
    options: BridgeTraining,
    *,
    state_path: Path | None = None,
    show: bool = False,
) -> None:
    """Train the mapper, and the language model's adapter where it has one, to say the answers of dialogues.

    Args:
        inputs: of the mapper, see `take_with_noise`.
        state_path: a file of this training, from which it goes on where it is there; deleted by the caller.
        show: a bar on a terminal; elsewhere a line after some seconds, then one a minute, and one at the end.

    Raises:
        ValueError: where `state_path` is of another training.
    """
    parameters = {f"mapper.{name}": p for name, p in mapper.named_parameters()}
    parameters |= {f"lm.{name}": p for name, p in lm.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=options.lr, betas=BETAS, weight_decay=options.weight_decay, foreach=False
    )
    centre_questions(lm, mapper, dialogues)
    identity = _identity(lm, parameters, inputs, dialogues, options)
    first = _read_state(state_path, identity, parameters, optimizer) if state_path and state_path.exists() else 0
    bar = show and sys.stdout.isatty()
    lines = ProgressLines("step", options.num_steps, first) if show and not bar else None
    mapper.train()
    for step in track(range(first, options.num_steps), "train the bridge", transient=True, disable=not bar):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * share_of_rate(step, options.num_steps)
        of_step, chosen = _draw(inputs, dialogues, step, options)
        loss = dialogue_loss(lm, mapper, of_step, chosen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for parameter in parameters.values():
            if parameter.grad is None:  # the comparison's, of a step without two inputs: all count the same steps
                parameter.grad = torch.zeros_like(parameter)
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        if lines:
            note = functools.partial("loss {:.3f}".format, loss)
            if step + 1 == options.num_steps:
                lines.print_now(step + 1, note())
            else:
                lines.print_if_due(step + 1, note)
        if state_path and (step + 1) % options.save_every_steps == 0:
            _write_state(state_path, identity, step + 1, parameters, optimizer)
    mapper.eval()


def dialogue_loss(
    lm: LanguageModel, mapper: nn.Module, inputs: MapperInputs, dialogues: Sequence[ReadyDialogue]
) -> Tensor:
    """The mean cross entropy, in nats, of the tokens that are to be said."""
    embeds_BLH, mask_BL, labels_BL = assemble(lm, mapper, inputs, dialogues)
    logits_BLV = lm(embeds_BLH, mask_BL)[:, :-1]
    return cross_entropy(logits_BLV.flatten(0, 1), labels_BL[:, 1:].flatten(), ignore_index=NO_LABEL)


@torch.no_grad()
def held_out_losses(
    lm: LanguageModel,
    mapper: nn.Module,
    inputs: MapperInputs,
    dialogues: Sequence[ReadyDialogue],
    batch_size: int = 64,
) -> tuple[float, float]:
    """The loss a token of dialogues that were not trained on, with their inputs, and with those of other dialogues.

    Where both are alike, the language model does not read what the mapper writes.
    """
    num_inputs = len(inputs)
    shift = max(1, num_inputs // 2)  # neighbours often say the same
    sums, num_said = [0.0, 0.0], 0
    for start in range(0, len(dialogues), batch_size):
        batch = dialogues[start : start + batch_size]
        num_labels = sum(label != NO_LABEL for one in batch for label in one.labels)
        others = [replace(one, rows=tuple((row + shift) % num_inputs for row in one.rows)) for one in batch]
        for number, about in enumerate((batch, others)):
            sums[number] += float(dialogue_loss(lm, mapper, inputs, about)) * num_labels
        num_said += num_labels
    return sums[0] / max(1, num_said), sums[1] / max(1, num_said)


def share_of_rate(step: int, num_steps: int) -> float:
    """The learning rate of a step as a share of the highest: it rises for a twentieth of the steps, then falls.

    Examples:
        >>> [round(share_of_rate(step, 100), 2) for step in (0, 4, 50, 99)]
        [0.2, 1.0, 0.5, 0.0]
    """
    num_rising = max(1, round(WARMUP_SHARE * num_steps))
    return min((step + 1) / num_rising, 0.5 + 0.5 * math.cos(math.pi * step / num_steps))


def rows_of_step(step: int, num_rows: int, options: BridgeTraining) -> list[int]:
    """The rows of a step: they follow each other through the rounds, each in a random order of its own."""
    rows = []
    for place in range(step * options.batch_size, (step + 1) * options.batch_size):
        epoch, number = divmod(place, num_rows)
        rows.append(_order(options.seed, epoch, num_rows)[number])
    return rows


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_rows: int) -> list[int]:
    order: list[int] = torch.randperm(num_rows, generator=_generator(seed, "order", epoch)).tolist()
    return order


def _draw(
    inputs: MapperInputs, dialogues: Sequence[ReadyDialogue], step: int, options: BridgeTraining
) -> tuple[MapperInputs, list[ReadyDialogue]]:
    """The inputs of a step, vectors with noise, and its dialogues about them."""
    chosen = [dialogues[row] for row in rows_of_step(step, len(dialogues), options)]
    rows = [row for one in chosen for row in one.rows]
    of_step = take_with_noise(inputs, rows, options.noise, _generator(options.seed, "noise", step))
    places = iter(range(len(rows)))
    return of_step, [replace(one, rows=tuple(next(places) for _ in one.rows)) for one in chosen]


def _generator(seed: int, what: str, number: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed} {what} {number}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _identity(
    lm: LanguageModel,
    parameters: Mapping[str, nn.Parameter],
    inputs: MapperInputs,
    dialogues: Sequence[ReadyDialogue],
    options: BridgeTraining,
) -> str:
    """A hash of all that decides what a training ends with."""
    digest = hashlib.blake2b(digest_size=16)
    shapes = [(name, tuple(parameter.shape)) for name, parameter in parameters.items()]
    decisive = {name: value for name, value in asdict(options).items() if name != "save_every_steps"}
    digest.update(json.dumps([lm.fingerprint, shapes, decisive]).encode())
    digest.update(repr([(one.rows, one.ids, one.labels) for one in dialogues]).encode())
    digest.update(fingerprint_inputs(inputs).encode())
    return digest.hexdigest()


def _write_state(
    path: Path, identity: str, step: int, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    state = {}
    for name, parameter in parameters.items():
        of_optimizer = optimizer.state[parameter]
        state[f"weight {name}"] = parameter
        state |= {f"{moment} {name}": of_optimizer[moment] for moment in MOMENTS}
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, save(content, {"identity": identity, "step": str(step)}))


def _read_state(
    path: Path, identity: str, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> int:
    """Load the state of a training that was stopped; the step with which it goes on."""
    advice = "delete it to begin again, or name another out="
    with reading(path, "not readable as the state of a training", advice), safe_open(path, "pt") as file:
        about = file.metadata() or {}
        if about.get("identity") != identity:
            raise ValueError(f"{path}: is of a training with other texts, options or models; {advice}")
        step = int(about["step"])
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(file.get_tensor(f"weight {name}"))
                moments = {moment: file.get_tensor(f"{moment} {name}").to(parameter.device) for moment in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    return step
