"""Places that transformers loads from: a local folder or the hub, read quietly, as data, with an error that helps."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

LOADING_ERRORS = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)
"""What transformers raises for files that it can't load."""
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
OPTIONAL_FILE = {
    "_raise_exceptions_for_gated_repo": False,
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


@contextlib.contextmanager
def opened_source(key: str, pretrained: str, *, files: str, loader: str = "AutoModel") -> Iterator[dict[str, Any]]:
    """The keyword arguments for `from_pretrained` of a hub id or local folder; what fails within is explained.

    Args:
        key: of the config, for messages (`anchor.pretrained`).
        files: what such a folder holds, in words.
        loader: class of transformers that reads its weights, in the command that converts a pickle.

    Raises:
        ValueError: where it can't be loaded, with the remedy.
    """
    is_local = Path(pretrained).exists()
    hub_error = None if is_local else find_hub_error(pretrained)
    options = {"local_files_only": is_local or hub_error is not None, "trust_remote_code": False}
    try:
        with silent_transformers():
            _refuse_adapter(pretrained, options)
            yield options
    except LOADING_ERRORS as error:
        raise ValueError(_explanation(key, pretrained, hub_error or error, files, loader)) from error


def find_hub_error(repo_id: str) -> Exception | None:
    """Why the hub can't give `repo_id`, None where it can.

    One request ahead: without network transformers tries every file again and again, minutes in all, before it looks
    at what earlier downloads left on disk.
    """
    try:
        HfApi().model_info(repo_id, timeout=10)
    except Exception as error:  # the hub's client does not name its transport's errors
        return error
    return None


@contextlib.contextmanager
def silent_transformers() -> Iterator[None]:
    """No progress bars and warnings of transformers: what matters of them, missing weights, is an error here."""
    has_progress_bar, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if has_progress_bar:
            transformers_logging.enable_progress_bar()


def _refuse_adapter(source: str, options: dict[str, Any]) -> None:
    """Raise ValueError where `source` holds an adapter: transformers would load what it names, wherever that is."""
    if cached_file(source, "adapter_config.json", **OPTIONAL_FILE, **options) is not None:
        raise ValueError("it holds an adapter of another model. Merge the two and save the model as a whole")


def _explanation(key: str, pretrained: str, error: Exception, files: str, loader: str) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):  # transformers advises to run it
        reason = "it brings code of its own, which bind never runs"
    elif list(Path(pretrained).glob("*.bin")) and not list(Path(pretrained).glob("*.safetensors")):
        return (
            f"{key}={pretrained} has its weights as a pickle (.bin), which can hold commands and "
            "is not read. Get the model with model.safetensors, or convert a folder that you trust yourself: "
            "python -c "
            f"\"import transformers as t; t.{loader}.from_pretrained('{pretrained}').save_pretrained('"
            f"{pretrained}')\""
        )
    if Path(pretrained).exists():
        return (
            f"{key}={pretrained} could not be loaded: {reason}\nThe folder needs {files}, as save_pretrained writes "
            "them."
        )
    if not HUB_ID.fullmatch(pretrained):
        return f"{key}={pretrained}: there is no such folder, and a hub id is ORG/NAME. Check the path"
    return (
        f"{key}={pretrained} could not be loaded: it is neither a local folder nor reachable on the hub "
        f"({reason})\nWithout network, copy the model folder here and pass it: {key}=/path/to/folder "
        f"(on a machine with network: hf download {pretrained} --local-dir folder)."
    )
