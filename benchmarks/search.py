"""Exact and approximate search beside faiss and LanceDB, in one run. python benchmarks/search.py [--vectors 1000000]

Clustered synthetic vectors of 512 dimensions; a query is one of them with noise. Seconds are medians over rounds in
which the engines take turns, so that they see the same machine. Memory is what is resident and no mapped file.
Approximations are built by `Index.build_approximations`, which takes minutes: `--approximate` says which.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.search.approximate.built import read_about
from bind.search.index import Index
from bind.search.pools import Pool
from bind.search.rounding import default_scan, has_bf16_products

DIM = 512
NUM_CLUSTERS = 2000
SPREAD = 0.7
NOISE = 0.3
TOP = 10
BLOCK_ROWS = 50_000
NUM_ADDED = 10_000
NUM_QUERIES = 1000
MODALITY = "audio"

Search = Callable[[Tensor], object]


def main() -> None:
    """Print seconds, ratios, memory and recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--approximate", nargs="*", default=[], choices=["faiss", "lancedb"])
    parser.add_argument("--skip-flat", action="store_true", help="without IndexFlatIP, which takes 2 GB per million")
    parser.add_argument("--folder", type=Path, help="keeps the index and its approximations there for the next time")
    args = parser.parse_args()
    kind = "bf16 products" if has_bf16_products() else "no bf16 products, so fp16 is cast to fp32 tile by tile"
    print(f"{args.vectors:,} x {DIM}, {torch.get_num_threads()} threads, scan={default_scan()} ({kind})")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "index"
        if not folder.exists():
            write_index(folder, args.vectors)
        measure(folder, args.approximate, args.rounds, with_flat=not args.skip_flat)


def write_index(folder: Path, num_vectors: int) -> None:
    """Write an index, and print what writing it and adding to it take."""
    index = Index.create(folder, dim=DIM)
    seconds = 0.0
    for start in range(0, num_vectors, BLOCK_ROWS):
        rows = range(start, min(start + BLOCK_ROWS, num_vectors))
        seconds += add(index, clustered(len(rows), start), [f"{row:08d}" for row in rows])
    print(f"written in {seconds:.1f} s, {num_bytes_of(folder) / 1e9:.2f} GB on disk")
    keys = [f"added {row}" for row in range(NUM_ADDED)]
    before = num_bytes_of(folder)
    seconds = add(index, clustered(NUM_ADDED, num_vectors), keys)
    print(f"{NUM_ADDED:,} added in {seconds:.2f} s, {(num_bytes_of(folder) - before) / 1e6:.1f} MB written")
    index.delete(keys)


def add(index: Index, vectors_ND: Tensor, keys: Sequence[str]) -> float:
    """Seconds that adding took."""
    began = time.perf_counter()
    index.add(MODALITY, vectors_ND, {"key": keys})
    return time.perf_counter() - began


def measure(folder: Path, approximate: Sequence[str], num_rounds: int, *, with_flat: bool) -> None:
    """Open an index, and print what asking it takes."""
    queries_QD = queries_of_pool(NUM_QUERIES)
    began = time.perf_counter()
    index = Index.open(folder)
    opened = time.perf_counter()
    index.search_vectors(queries_QD[:1], top=TOP)
    print(f"opened in {opened - began:.3f} s, and compared with its checksums in {time.perf_counter() - opened:.1f} s")
    index.search_vectors(queries_QD[:100], top=TOP)
    print(f"memory of the process after 100 exact queries: {resident_bytes() / 1e9:.2f} GB")
    [pool] = index.pools([MODALITY])
    best = pool.search(queries_QD, TOP)
    print(f"scanned again because the bound was no proof: {best.num_scanned_again / len(queries_QD):.1%} of queries")
    ways: dict[str, Search] = {"exact": lambda z: pool.search(z, TOP)}
    if with_flat:
        flat = flat_index_of(pool)
        ways["IndexFlatIP"] = lambda z: flat.search(z.numpy(), TOP)
        _, rows = flat.search(queries_QD[:100].numpy(), TOP)
        print(f"of its hits IndexFlatIP finds {share_of(best.rows_QK[:100].tolist(), rows.tolist()):.2%} too")
    for engine in approximate:
        ways[engine] = built(index, engine, queries_QD)
    print("queries  " + "  ".join(f"{name:>11}" for name in ways) + "  seconds; exact search's as a share of each")
    for num_queries in (1, 100):
        seconds = alternate(ways, queries_QD[:num_queries], num_rounds)
        print(f"{num_queries:>7}  " + "  ".join(f"{s:>11.4f}" for s in seconds.values()))
        print(" " * 9 + "  ".join(f"{seconds['exact'] / s:>11.2f}" for s in seconds.values()))


def clustered(num: int, seed: int) -> Tensor:
    """Unit vectors (N, D) around centres that all of them share."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(NUM_CLUSTERS, DIM, generator=torch.Generator().manual_seed(1))
    chosen = torch.randint(NUM_CLUSTERS, (num,), generator=generator)
    return normalize(centres[chosen] + SPREAD * torch.randn(num, DIM, generator=generator), dim=1)


def queries_of_pool(num: int) -> Tensor:
    """Unit vectors (Q, D) near to vectors of the pool's first block."""
    noise = torch.randn(num, DIM, generator=torch.Generator().manual_seed(2)) / DIM**0.5
    return normalize(clustered(BLOCK_ROWS, 0)[:num] + NOISE * noise, dim=1)


def flat_index_of(pool: Pool) -> faiss.IndexFlatIP:
    """The vectors of a pool in faiss, as fp32."""
    flat = faiss.IndexFlatIP(DIM)
    for stretch in pool.stretches:
        flat.add(stretch.take(stretch.part.vectors, 0, len(stretch)).float().numpy())
    return flat


def built(index: Index, engine: str, queries_QD: Tensor) -> Search:
    """Build an approximation, or take the one that is there, print its recall, and give a search by it."""
    began = time.perf_counter()
    if about := read_about(index.store.folder, engine, MODALITY):
        print(f"{about}, built before")
    else:
        [about] = index.build_approximations(engine, queries=queries_QD)
        print(f"{about}, built in {time.perf_counter() - began:.0f} s")
    [pool] = Index.open(index.store.folder, verify=False, approximate=engine).pools([MODALITY])
    return lambda z: pool.search(z, TOP)


def share_of(rows: list[list[int]], others: list[list[int]]) -> float:
    """Which share of the rows the others have too."""
    return statistics.mean(len(set(a) & set(b)) / len(a) for a, b in zip(rows, others, strict=True))


def alternate(ways: dict[str, Search], queries_QD: Tensor, num_rounds: int) -> dict[str, float]:
    """Median seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(num_rounds):
        for name, search in ways.items():
            began = time.perf_counter()
            search(queries_QD)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(of_rounds) for name, of_rounds in seconds.items()}


def num_bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def resident_bytes() -> int:
    """Memory of this process that is no mapped file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
