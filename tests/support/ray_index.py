"""What the tests of `bindspace index engine=ray` run in other processes."""

import os
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

import bind.commands.index_on_ray as index_on_ray
import bind.search.embedding as embedding
from bind.commands.checkout import CONFIG_DIR
from bind.commands.index import index
from support.ray_cases import die_once

begin_as_it_is = index_on_ray._begin
CALL = {"num_workers": 0, "batch_size": 2}


def indexing(out, **options):
    """The command."""
    config = OmegaConf.load(CONFIG_DIR / "index.yaml")
    del config["defaults"], config["hydra"]
    index(OmegaConf.merge(config, {"out": str(out), **CALL}, options))


def begin_and_die_once(marker: Path, notes: Path, *arguments):
    """`bind.commands.index_on_ray._begin`, but for a death after the first piece that is embedded, and not written."""
    (notes / f"pid-{os.getpid()}").touch()

    def dying(*of_piece):
        if len(list(notes.glob("pid-*"))) >= 2:
            die_once(marker)
        return written(*of_piece)

    written = index_on_ray.write_piece
    index_on_ray.write_piece = dying
    return begin_as_it_is(*arguments)


def begin_slowly(seconds: float, *arguments):
    """The same, with a pause before each piece."""
    embed = begin_as_it_is(*arguments)

    def slow(piece):
        time.sleep(seconds)
        return embed(piece)

    return slow


def main(out: str, manifest: str, binder: str, address: str) -> None:
    """Index on a cluster, slowly, and commit each piece."""
    import functools

    index_on_ray.PIECE_BATCHES, embedding.COMMIT_SECONDS = 1, -1.0
    index_on_ray._begin = functools.partial(begin_slowly, 0.5)
    values = {"manifest": manifest, "binder": binder, "modalities": ["audio"]}
    indexing(out, engine="ray", ray_address=address, **values)


if __name__ == "__main__":
    main(*sys.argv[1:])
