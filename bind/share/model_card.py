"""The model card of a shared binder: what was bound, on which data, how well, how to use it, under which licences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bind import __version__
from bind.evaluation.fused import fused_modalities
from bind.report.cells import Cells
from bind.report.data_table import data_cells
from bind.report.leakage_table import leakage_cells, leakage_note
from bind.report.retrieval_table import retrieval_cells
from bind.report.zero_shot_table import multi_label_cells, zero_shot_cells
from bind.share.card import describe_transform, rates_and_units
from bind.share.eval_results import card_metadata
from bind.share.run_facts import RunFacts
from bind.types import Modality

UNKNOWN = "unknown"
FILES = {"audio": ".wav", "imu": ".csv", "depth": ".png", "thermal": ".png", "image": ".jpg", "video": ".mp4"}
"""Suffix of a file of a modality, for examples of use."""


def write_card(facts: RunFacts) -> str:
    """`README.md` of a shared binder: metadata that the hub reads, then text."""
    sections = [
        f"---\n{card_metadata(facts).to_yaml()}\n---",
        f"# {facts.name}",
        _summary(facts),
        *_warning(facts),
        f"## Use\n\n{_use(facts)}",
        f"## What was bound to what\n\n{_bound(facts)}",
        f"## Data\n\n{_data(facts)}",
        f"## Figures\n\n{_figures(facts)}",
        f"## Leakage\n\n{_leakage(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Licences\n\n{_licences(facts)}",
        f"Written by `bindspace share`, version {__version__}, from the run's config and `metrics.json`.",
    ]
    return "\n\n".join(sections) + "\n"


def _summary(facts: RunFacts) -> str:
    binder = facts.binder
    of_anchor = _and(binder.anchor.modalities)
    encoders = "An encoder" if len(binder.encoders) == 1 else "Encoders"
    text = f"{facts.about}\n\n" if facts.about else ""
    text += (
        f"{encoders} of {_and(binder.encoders)} in the space of `{binder.anchor.name}`, a frozen model of {of_anchor}: "
        f"each file becomes a unit vector of {binder.dim} numbers, and a product of two such vectors, of the same "
        "modality or of two, is their cosine."
    )
    names = [facts.pairs_title(kind) for kind in ("trained", "emergent")]
    if names[0]:
        text += f" Trained together: {names[0]}."
    if names[1]:
        text += f" Emergent, never trained together and compared through the space alone: {names[1]}."
    return text


def _warning(facts: RunFacts) -> list[str]:
    if not facts.num_leaked:
        return []
    return [f"> **{leakage_note(facts.metrics['leakage'])}: the figures below are too good.** See [Leakage](#leakage)."]


def _use(facts: RunFacts) -> str:
    binder = facts.binder
    place = facts.repo or "PATH/TO/THIS/FOLDER"
    trust = f", trust={_listed(facts.packages)}" if facts.packages else ""
    modality = next(iter(binder.encoders))
    others = [m for m in ("text", *binder.anchor.modalities) if m in binder.modalities and m != modality] or [modality]
    other = others[0]
    values = example_prompts(facts) if other == "text" else _files(other)
    lines = [
        "```python",
        "from bind import Binder  # pip install bindspace",
        "",
        f'binder = Binder.load("{place}"{trust})',
        f'z_a = binder.embed("{modality}", {_listed(_files(modality))})  # (2, {binder.dim}), unit vectors',
        f'z_b = binder.embed("{other}", {_listed(values)})',
        "print(z_a @ z_b.T)  # cosines",
        "```",
    ]
    if facts.packages:
        lines.append(f"\nIts config names classes of {_and(facts.packages)}, which have to be installed and trusted.")
    lines.append("\nWhat an encoder is given (sounds and sensors of other rates are resampled):\n")
    for name in binder.encoders:
        known = rates_and_units(describe_transform(binder, name))
        lines.append(f"- {name}: {'; '.join(known) or 'see binder.json'}")
    options = f', model_kwargs={{"trust": {_listed(facts.packages)}}}' if facts.packages else ""
    lines += [
        "\nThe same with sentence-transformers (`pip install 'bindspace[sentence-transformers]'`), which asks for "
        "`trust_remote_code=True` because the class that embeds is bind's:\n",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{place}", trust_remote_code=True{options})',
        f'z_a = model.encode({_listed(_files(modality))}, modality="{modality}")',
        "```",
    ]
    return "\n".join(lines)


def _bound(facts: RunFacts) -> str:
    binder = facts.binder
    rows: list[tuple[str, ...]] = []
    for modality, encoder in binder.encoders.items():
        num_weights = sum(p.numel() for part in (encoder, binder.heads[modality]) for p in part.parameters())
        options = facts.config["encoder"].get(modality) or {}
        start = options.get("pretrained")
        began = (
            "random weights" if start is None else f"`{start}`" if start in facts.base_models else "weights of a file"
        )
        trained = options.get("train") or "full"
        of_two = [(pair.a, pair.b) for pair in facts.pairs if not pair.has_views]
        partners = [b if a == modality else a for a, b in of_two if modality in (a, b)]
        name = type(encoder).__name__
        rows.append((modality, _and(partners) or "nothing", name, f"{num_weights:,}", began, str(trained)))
    headers = ("modality", "bound to", "encoder", "parameters", "began with", "trained part")
    lines = [_table(headers, rows)]
    if (fused := binder.fused_modality) is not None:
        lines.append(f"\n`{fused}` is one vector of {_and(binder.fusion_inputs)}, by {type(binder.fusion).__name__}.")
    lines.append(
        f"\nThe anchor `{binder.anchor.name}` (fingerprint `{binder.anchor.fingerprint}`) embeds "
        f"{_and(binder.anchor.modalities)} and "
        + (f"was trained further ({_and(binder.anchor.trainable)})." if binder.anchor.trainable else "stayed frozen.")
    )
    return "\n".join(lines)


def _data(facts: RunFacts) -> str:
    names = f"{_and(facts.sources)}{f', on the hub `{facts.dataset}`' if facts.dataset else ''}."
    if facts.counts is None:
        return f"{names}\n\nSamples and owners of each split: {UNKNOWN}, the data were not read for this card."
    modalities = [m for m in facts.binder.modalities if any(m in of_split for of_split in facts.counts.values())]
    cells = data_cells(facts.counts, tuple(modalities))
    has_owners = any(counts.owners for of_split in facts.counts.values() for counts in of_split.values())
    note = "" if has_owners else "\n\nWho or what the samples come from (owners) is not said in the data."
    return f"{names}\n\n{_cells_table(cells)}{note}"


def _figures(facts: RunFacts) -> str:
    metrics = facts.figures_by_pair()
    tables = [retrieval_cells(metrics, fused_modalities(facts.binder))] if metrics["retrieval"] else []
    entries = (metrics.get("zero_shot") or {}).values()
    if any("top1" in entry for entry in entries):
        tables.append(zero_shot_cells(metrics))
    if any("map" in entry for entry in entries):
        tables.append(multi_label_cells(metrics))
    return "\n\n".join(f"### {cells.title}\n\n{_cells_table(cells)}" for cells in tables) or "None were measured."


def _leakage(facts: RunFacts) -> str:
    leakage = facts.metrics.get("leakage")
    if not leakage:
        return f"{UNKNOWN.capitalize()}: the run's figures say nothing of it."
    compared = [f"- {name}: {text}" for name, text in leakage.get("checked", {}).items()]
    left_out = [f"- not checked: {text}" for text in leakage.get("not_checked", ())]
    notes = [f"- {text}" for text in leakage.get("notes", ())]
    titles = {f"{a}_to_{b}": f"{a} → {b}" for a, b in facts.figures_by_pair()["retrieval"]}
    tables = [f"### {c.title}\n\n{_cells_table(c)}" for c in leakage_cells(facts.metrics, titles)]
    note = leakage_note(leakage)
    lines = "\n".join([f"{note[0].upper()}{note[1:]}.", "", *compared, *left_out, *notes]).strip()
    return "\n\n".join([lines, *tables])


def _training(facts: RunFacts) -> str:
    config, metrics = facts.config, facts.metrics
    trainer, optimizer = config.get("trainer") or {}, config.get("optimizer") or {}
    seconds, hardware = metrics.get("seconds") or {}, metrics.get("hardware") or {}
    is_known = "fit" in seconds
    took = ", ".join(f"{name.replace('_', ' ')} {value:,.0f}" for name, value in seconds.items())
    lines = [
        f"- hardware: {hardware['processes']} × {hardware['device']}"
        if hardware
        else f"- hardware: {UNKNOWN}, the run has not recorded it",
        f"- seconds: {took}" if is_known else f"- seconds: {UNKNOWN}",
        f"- length: {_length(trainer)}; batches of {config['data'].get('batch_size', UNKNOWN)}; seed {config['seed']}",
        f"- loss: {str(config['loss'].get('_target_', UNKNOWN)).rpartition('.')[2]}; "
        + ", ".join(f"{name} {optimizer[name]}" for name in ("lr", "weight_decay") if name in optimizer),
        f"- best checkpoint by `{config.get('monitor', UNKNOWN)}`; precision {trainer.get('precision', UNKNOWN)}",
    ]
    return "\n".join(lines)


def _length(trainer: Mapping[str, Any]) -> str:
    limits = [(trainer.get("max_epochs"), "epochs"), (trainer.get("max_steps"), "steps")]
    known = [f"at most {number} {what}" for number, what in limits if isinstance(number, int) and number > 0]
    return " or ".join(known) or UNKNOWN


def _licences(facts: RunFacts) -> str:
    licences = facts.licences
    bases = ", ".join(f"[{name}](https://huggingface.co/{name})" for name in facts.base_models)
    see = f"; see the cards of {bases}" if bases else ""
    lines = [
        f"- these weights: {licences.weights or f'{UNKNOWN}, ask whoever shares them before you use them'}",
        f"- the anchor `{facts.binder.anchor.name}`: {licences.anchor or UNKNOWN + see}",
        f"- the data that they were trained on: {licences.data or UNKNOWN}",
    ]
    for name, text in licences.texts.items():
        what = f"{name[0].upper()}{name[1:]} came with this, which holds for what was made of it:"
        lines.append(f"\n{what}\n\n```text\n{text}\n```")
    return "\n".join(lines)


def example_prompts(facts: RunFacts) -> list[str]:
    """Two texts as the run's classes were asked for; placeholders where it has none."""
    for options in (facts.config["data"].get("zero_shot") or {}).values():
        classes, templates = options.get("classes") or {}, options.get("templates") or ["{}"]
        words = [(classes[name] or [name])[0] if isinstance(classes, Mapping) else name for name in classes]
        if len(words) > 1:
            return [str(templates[0]).replace("{}", str(word)) for word in words[:2]]
    for entry in (facts.metrics.get("zero_shot") or {}).values():
        if len(names := list(entry.get("per_class") or {})) > 1:
            return [str((entry.get("templates") or ["{}"])[0]).replace("{}", name) for name in names[:2]]
    return ["one caption", "another caption"]


def _files(modality: Modality) -> list[str]:
    suffix = FILES.get(modality, ".npy")
    return [f"a{suffix}", f"b{suffix}"]


def _listed(values: Iterable[str]) -> str:
    quoted = ", ".join('"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values)
    return f"[{quoted}]"


def _and(names: Iterable[str]) -> str:
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _cells_table(cells: Cells) -> str:
    body: list[Sequence[str]] = []
    for title, of_section in cells.sections.items():
        body += [(f"**{title}**", *("" for _ in cells.headers[1:]))] if title else []
        body += of_section
    notes = "\n".join(f"- {_inline(note)}" for note in cells.caption.split("; ") if not note.startswith("data."))
    headers = [header.replace("\n/", " / ") for header in cells.headers]
    return f"{_table(headers, body)}\n\n{notes}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ("---",) * len(headers), *rows]
    return "\n".join(f"| {' | '.join(_inline(cell) for cell in line)} |" for line in lines)


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
