"""Ownership of a run: a mark in its config.yaml that this account alone can make, and what other runs may name.

The config of a run names data that commands read and a cache that they write. A run of this account is its user's own
word. In a run of somebody else, which was downloaded or copied here, the same names would have files of this machine
read into a report, or URLs fetched; so they count only where the user names them too.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.build import ANY_CLASS
from bind.files.locks import LOCK
from bind.files.plain_data import MAX_BYTES
from bind.files.reading import read_bytes

log = logging.getLogger("bind")

KEY_BYTES = 32
MARK = "\n# written by this account: "
NO_PLACES = frozenset(
    {"_target_", "name", "known", "fresh", "carries", "modalities", "extensions", "captions_key", "corpus"}
)
"""Arguments of sources whose texts are no places; every other text may be one."""
MAX_NUMBER = 10**6
"""Of anything in the data and evaluation of others' runs: samples that are made, rows of a batch, …"""
MAX_WORKERS = 64
FOLDERS_OF_A_RUN = (LOCK, "checkpoints", "logs", "binder", "anchor")


def marked(config_yaml: str) -> str:
    """The text of a run's config with the mark of this account; without one where no key can be kept."""
    try:
        key = _account_key(create=True)
    except OSError as error:
        key = None
        log.warning("%s can't be written (%s): commands will take this run for somebody else's", _key_path(), error)
    return config_yaml if key is None else f"{config_yaml.rstrip()}{MARK}{_digest(key, config_yaml.rstrip())}\n"


def unmarked(config_yaml: str) -> str:
    """The text of a run's config without its mark."""
    text, mark, _ = config_yaml.rpartition(MARK)
    return f"{text}\n" if mark else config_yaml


def is_own(run_dir: Path) -> bool:
    """Whether this account has written the config.yaml of a run as it is now."""
    text, mark, digest = (
        read_bytes(run_dir / "config.yaml", max_bytes=MAX_BYTES).decode(errors="replace").rpartition(MARK)
    )
    try:
        key = _account_key(create=False)
    except OSError:
        return False
    return bool(mark and key) and hmac.compare_digest(_digest(key or b"", text).encode(), digest.strip().encode())


def confined(config: Mapping[str, Any], run_dir: Path, trust: Sequence[str]) -> Mapping[str, Any]:
    """The config of a run as far as it may be followed: that of one's own run as it is.

    Of another run the data has to be trusted, and the anchor's vectors are kept in memory unless the cache's folder is.

    Args:
        trust: folders, files and URLs that the config may name, each with what lies in it; `ANY_CLASS` trusts all.

    Raises:
        ValueError: naming the file, for data that is not trusted and for absurd numbers.
    """
    if set(ANY_CLASS) & set(trust) or is_own(run_dir):
        return config
    path = run_dir / "config.yaml"
    data = config["data"]
    named = [place for part in ("sources", "manifests") for place in _places(data.get(part) or {})]
    if places := [place for place in named if not is_trusted_place(place, trust)]:
        raise ValueError(
            f"{path}: not written by a training of this account, or changed since, and it has data read from "
            f"{', '.join(places[:5])}{' and others' if len(places) > 5 else ''}. Where you want that, name these "
            f"places or a folder of them: trust={places[:5]}. Binder.load needs no data"
        )
    for name, value in _numbers({"data": data, "evaluation": config["evaluation"]}, ""):
        limit = MAX_WORKERS if name.endswith("num_workers") else MAX_NUMBER
        if value > limit and not name.endswith("seed"):
            raise ValueError(f"{path}: {name}={value}, more than {limit}, in a run that this account has not written")
    cache = config["cache"]
    folder = cache.get("dir")
    is_trusted = isinstance(folder, str) and is_trusted_place(folder, trust)
    return {**config, "cache": {**cache, "dir": folder if is_trusted else None}}


def is_trusted_place(place: str, trust: Sequence[str]) -> bool:
    """Whether a path or URL is one of `trust`, or lies in one of them.

    Examples:
        >>> is_trusted_place("/data/speech/a.csv", ["mypackage", "/data/speech"])
        True
        >>> is_trusted_place("/data/speech/../secret.csv", ["/data/speech"])
        False
        >>> is_trusted_place("s3://bucket/train/0.tar", ["s3://bucket"])
        True
    """
    if place in trust:
        return True
    folders = [folder for folder in trust if "/" in folder]  # others are packages
    if ".." in place:
        return False
    if "://" in place:
        return any(place.startswith(f"{folder.rstrip('/')}/") for folder in folders if "://" in folder)
    path = Path(place).expanduser().resolve()
    return any(path.is_relative_to(Path(folder).expanduser().resolve()) for folder in folders if "://" not in folder)


def refuse_links(run_dir: Path) -> None:
    """Raise ValueError where what a training would write into another's run is a link to somewhere else."""
    if not (run_dir / "config.yaml").is_file() or is_own(run_dir):
        return
    if links := [name for name in FOLDERS_OF_A_RUN if (run_dir / name).is_symlink()]:
        raise ValueError(
            f"{run_dir / links[0]}: a link, in a run that this account has not written, and a training would write "
            "where it leads. Replace it with a folder, or choose another run_dir"
        )


def _places(options: Any, name: str = "") -> Iterator[str]:
    """All texts in the options of sources, but those that are no places whatever they say."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key not in NO_PLACES:
                yield from _places(value, key)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _places(value, name)
    elif isinstance(options, str):
        yield options


def _numbers(options: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(options, Mapping):
        for key, value in options.items():
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _numbers(value, name)
    elif isinstance(options, int | float):
        yield name, options


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key_path() -> Path:
    root = os.environ.get("BINDSPACE_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/bindspace"
    return Path(root).expanduser() / f"account_key_{os.getuid()}"


def _account_key(*, create: bool) -> bytes | None:
    """The secret of this account; None where there is none, or others could have written or read it.

    Raises:
        OSError: where it can't be read, or made.
    """
    path = _key_path()
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(partial, path)  # unlike a renaming it never replaces the key that another training just made
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        is_private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        key = file.read(KEY_BYTES) if stat.S_ISREG(status.st_mode) and is_private else b""
    return key if len(key) == KEY_BYTES else None
