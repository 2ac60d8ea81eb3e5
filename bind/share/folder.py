"""The folder of a shared binder: its files, a card, figures for the hub, and what sentence-transformers opens it by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bind.files.writing import open_folder_atomically, remove_failed_start, write_text
from bind.model.binder import Binder
from bind.model.hub import CARD_FILE
from bind.model.licence import LICENCE_FILE
from bind.model.saving import ADAPTERS_FOLDER, write_binder
from bind.report.leakage_table import leakage_note
from bind.share.eval_results import EVAL_RESULTS_FILE, eval_results_yaml
from bind.share.model_card import write_card
from bind.share.run_facts import RunFacts

MODULES_FILE, SENTENCE_TRANSFORMERS_FILE = "modules.json", "config_sentence_transformers.json"
MODULE_CLASS = "bind.share.as_sentence_transformer.BinderModule"


def require_publishable(metrics: Mapping[str, Any], *, allow_leakage: bool) -> None:
    """Raise ValueError where evaluated samples leaked from the training, unless that is allowed.

    Args:
        metrics: what `metrics.json` of the run holds.
    """
    leakage = metrics.get("leakage") or {}
    if leakage.get("leaked") and not allow_leakage:
        raise ValueError(
            f"{leakage_note(leakage)}, so the figures are too good to publish. Mend the splits and train again, or "
            "pass allow_leakage=true: the card then says so at its top, with the figures without these samples"
        )


def write_shared_folder(facts: RunFacts, folder: Path, *, adapters: Path | None = None) -> None:
    """Write all files of a shared binder into a new folder, and load it as somebody else would.

    Args:
        adapters: folder of adapters as peft reads them, which the run has written beside its binder.

    Raises:
        ValueError: where `folder` is not empty, or what was written can't be loaded.
    """
    with _new_folder(folder) as partial:
        _write_binder(facts.binder, partial, adapters, facts.packages)
        if text := eval_results_yaml(facts):
            (partial / EVAL_RESULTS_FILE).parent.mkdir()
            write_text(partial / EVAL_RESULTS_FILE, text)
        _write_texts(partial, write_card(facts), facts.licences.texts)


def write_folder_without_run(
    binder: Binder,
    folder: Path,
    card: str,
    *,
    adapters: Path,
    licence_texts: Mapping[str, str],
    trust: Sequence[str],
) -> None:
    """Write a binder of which no run is known into a new folder, and load it as somebody else would.

    Args:
        card: its text.
        adapters: where there may be adapters as peft reads them, beside the binder.
        licence_texts: name of a part → text that came with its weights.
        trust: packages besides bind that the binder's config names classes of.

    Raises:
        ValueError: where `folder` is not empty, or what was written can't be loaded.
    """
    with _new_folder(folder) as partial:
        _write_binder(binder, partial, adapters, trust)
        _write_texts(partial, card, licence_texts)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"out={folder} is not empty: choose a new folder")
    with remove_failed_start(folder), open_folder_atomically(folder) as partial:
        yield partial


def _write_binder(binder: Binder, folder: Path, adapters: Path | None, trust: Sequence[str]) -> None:
    write_binder(binder, folder)
    if adapters is not None and adapters.is_dir():
        shutil.copytree(adapters, folder / ADAPTERS_FOLDER, dirs_exist_ok=True)
    Binder.load(folder, trust=trust)


def _write_texts(folder: Path, card: str, licence_texts: Mapping[str, str]) -> None:
    write_text(folder / CARD_FILE, card)
    if licence_texts:
        parts = [f"{name}\n\n{text}\n" for name, text in licence_texts.items()]
        write_text(folder / LICENCE_FILE, "\n".join(parts))
    for name, value in sentence_transformers_files().items():
        write_text(folder / name, json.dumps(value, indent=2) + "\n")


def sentence_transformers_files() -> dict[str, dict[str, Any] | Sequence[dict[str, Any]]]:
    """File → content, by which sentence-transformers finds the class that embeds."""
    return {
        MODULES_FILE: [{"idx": 0, "name": "0", "path": "", "type": MODULE_CLASS}],
        SENTENCE_TRANSFORMERS_FILE: {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"},
    }
