"""Work on a Ray cluster: pieces go to workers of Ray Data, and those of a worker that dies to another.

Ray sees numbers and counts only. Workers read data and write results themselves, each piece whole or not at all, so all
machines need the same files under the same paths, as on a shared file system.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MAX_DEATHS = 3
"""How often a piece is given to another worker before it is taken for what kills them."""


@contextlib.contextmanager
def connected(engine: str, address: str | None) -> Iterator[None]:
    """With `engine=ray` a connection to the cluster at `address`; None: the one that Ray finds, or this machine alone.

    Raises:
        ValueError: for an engine that is neither local nor ray, for Ray that is not installed or does not answer.
    """
    if engine not in ("local", "ray"):
        raise ValueError(f"engine={engine}: choose local or ray")
    if engine == "local":
        yield
        return
    try:
        import ray.data
    except ImportError as error:
        raise ValueError(f'engine=ray needs Ray Data ({error}): pip install "bindspace[ray]"') from error
    if ray.is_initialized():  # by whoever calls this from Python
        yield
        return
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"ray_address={address}: no Ray cluster answers there ({error})") from error
    try:
        yield
    finally:
        ray.shutdown()


def spread(
    make: Callable[[], Callable[[Any], int]], pieces: Sequence[Any], *, num_cpus: int, use_gpus: bool = False
) -> Iterator[int]:
    """What the function that `make` gives on every worker returns for each piece, in any order.

    Args:
        make: called once per worker; partial functions of large objects are sent to each machine once.
        pieces: what is lost where a worker dies, and given to another.
        num_cpus: of a worker.
        use_gpus: a worker for each GPU, where the cluster has any.

    Raises:
        ValueError, OSError: the first that a worker raised.
        ValueError: where one piece has ended several workers.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_items
    from ray.exceptions import RayActorError

    if not pieces:
        return
    DataContext.get_current().enable_progress_bars = False
    there = ray.cluster_resources()
    num_gpus = 1 if use_gpus and there.get("GPU", 0) >= 1 else 0
    room = there["GPU"] if num_gpus else there.get("CPU", 0) / num_cpus
    if room < 1:
        raise ValueError(f"a worker takes {num_cpus} CPUs, all of Ray has {there.get('CPU', 0):g}: lower num_workers")
    rows = from_items([{"piece": pickle.dumps(piece)} for piece in pieces], override_num_blocks=len(pieces))
    done = rows.map_batches(
        _Worker,
        fn_constructor_args=([ray.put(make)], os.getcwd()),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(int(room), len(pieces)), max_tasks_in_flight_per_actor=1),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        max_task_retries=MAX_DEATHS,
    )
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            yield int(row["done"])
    except RayActorError as error:
        raise ValueError(
            f"{MAX_DEATHS + 1} workers have died of the same piece: too little memory, or a file that a library can't "
            f"bear. What is finished is kept. {error}"
        ) from error


class _Worker:
    """An actor of Ray Data."""

    def __init__(self, make: list[Any], cwd: str) -> None:
        os.chdir(cwd)
        self.make = make
        self.function: Callable[[Any], int] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        import ray

        try:
            if self.function is None:  # here and not before, as Ray takes an error in a constructor for a death
                self.function = ray.get(self.make[0])()
            [piece] = batch["piece"]
            return {"done": [self.function(pickle.loads(piece))], "error": [b""]}
        except (ValueError, OSError) as error:  # what a user can mend ends the job with its own message
            return {"done": [0], "error": [pickle.dumps(error)]}
