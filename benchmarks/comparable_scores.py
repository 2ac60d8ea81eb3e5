"""Does the gap between modalities decide a ranking? python benchmarks/comparable_scores.py RUN

RUN is a run of the toy world with sound and motion, such as of `python train.py`. The pool holds a picture, a sound and
a motion of each test combination, queries are other samples. A hit is right where it shares with the query all factors
that both modalities tell. Printed are each modality's share of the ten best, and the share of queries that have a right
hit of it among them, with `comparable=false` and `true`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bind.data.sources.toy.world import FACTORS, ToySource
from bind.model.binder import Binder
from bind.runs.run_config import open_run
from bind.search.hits import Hit
from bind.search.index import Index

POOL = ("image", "audio", "imu")
QUERIES = ("text", *POOL)
TOP = 10


def main() -> None:
    """Print a line per modality of the query and way of ranking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    run_dir, _ = open_run(parser.parse_args().run)
    binder = Binder.load(run_dir)
    toy = ToySource(num_train=1, num_test_queries=2)
    factors = toy.factor_table("test")
    num_pool = len(np.unique(factors, axis=0))
    rows = range(len(factors))
    values = toy.fetch("test", rows, QUERIES, rngs=None)
    z = {m: binder.embed(m, [value[m][0] for value in values]).float().cpu() for m in QUERIES}
    print(f"{num_pool} combinations in the pool, {len(rows) - num_pool} queries of each modality")
    print("query  comparable  share of the ten best: image audio   imu   right among them: image audio   imu")
    with tempfile.TemporaryDirectory() as folder:
        index = index_of(folder, {m: z[m][:num_pool] for m in POOL})
        for modality in QUERIES:
            for comparable in (False, True):
                hits_of_queries = index.search_vectors(z[modality][num_pool:], top=TOP, comparable=comparable)
                shares = [np.mean([hit.modality == m for hits in hits_of_queries for hit in hits]) for m in POOL]
                right = [share_right(toy, factors, num_pool, modality, m, hits_of_queries) for m in POOL]
                line = "".join(f"{share:>6.2f}" for share in shares), "".join(f"{share:>6.2f}" for share in right)
                print(f"{modality:<5}  {comparable!s:<10}  {'':<21}{line[0]}{'':<20}{line[1]}")


def index_of(folder: str, z: Mapping[str, Tensor]) -> Index:
    """An index of these vectors, whose keys are their rows."""
    index = Index.create(folder, dim=next(iter(z.values())).shape[1])
    for modality, z_ND in z.items():
        index.add(modality, torch.nn.functional.normalize(z_ND, dim=1), {"key": [str(row) for row in range(len(z_ND))]})
    return index


def share_right(
    toy: ToySource,
    factors_NF: np.ndarray,
    first: int,
    query_modality: str,
    hit_modality: str,
    hits_of_queries: Sequence[Sequence[Hit]],
) -> float:
    """Of the queries, samples from `first` on, the share that has a right hit of `hit_modality` among its hits."""
    told = [
        n for n, name in enumerate(FACTORS) if name in toy.carries[query_modality] and name in toy.carries[hit_modality]
    ]
    right = [
        any(
            hit.modality == hit_modality and (factors_NF[int(hit.key), told] == factors_NF[query, told]).all()
            for hit in hits
        )
        for query, hits in enumerate(hits_of_queries, start=first)
    ]
    return float(np.mean(right))


if __name__ == "__main__":
    main()
