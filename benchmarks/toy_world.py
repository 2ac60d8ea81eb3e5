"""Is the toy world honest and not trivial? One table each.

(a) Probes: one small network per modality with a head per carried factor, trained on fresh renders of the training
    combinations and scored on held-out ones. Every factor has to reach 0.97, or the ceiling is not one.
(b) Linear models: ridge regressions from raw values onto the factors that the two sides share, both sides, as
    retrieval over the held-out combinations on the scale (score - chance) / (ceiling - chance). They have to stay
    under 0.5. Captions, whose words are the factors, count as read without error.
(c) Milliseconds a sample of each renderer.

    python benchmarks/toy_world.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn

from bind.data.sources.toy.world import CARRIES, FACTORS, ToySource, render
from bind.metrics.ceiling import carried_factors, pair_ceiling, share_of_ceiling

ORDER = tuple(FACTORS)
PROBE_TARGET, LINEAR_LIMIT = 0.97, 0.5
LINEAR_PAIRS = (
    ("audio", "image"), ("imu", "image"), ("depth", "image"), ("audio", "text"), ("imu", "text"), ("depth", "text"),
    ("image", "text"), ("imu", "audio"), ("audio", "imu"), ("image", "audio"), ("image", "imu"),
)  # fmt: skip


def raw(modality: str, rows: np.ndarray, seed: int) -> np.ndarray:
    """Rendered values as one float32 array (N, …)."""
    values = render(modality, rows, [np.random.default_rng([seed, i]) for i in range(len(rows))])
    if modality == "audio":
        return np.stack([v.samples for v in values])
    if modality == "imu":
        return np.stack([v.values for v in values])
    return np.stack(values).astype(np.float32)


def log_mel(wave_BT: Tensor) -> Tensor:
    return torch.log(_MEL(wave_BT) + 1e-6)[:, None] / 5 + 1


_MEL = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, win_length=400, hop_length=160, n_mels=64, f_min=60)

FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "image": lambda x: x.permute(0, 3, 1, 2) / 64 - 1.5,
    "depth": lambda x: (x[:, None] - x.mean(dim=(1, 2))[:, None, None, None]) * 3,
    "audio": log_mel,
    "imu": lambda x: x.transpose(1, 2) * torch.tensor([1.0, 1, 1, 0.3, 0.3, 0.3])[:, None],
}
STEPS = {"image": 1800, "depth": 400, "audio": 500, "imu": 700}


class Probe(nn.Module):
    """Strided convolutions with GroupNorm, averages and maxima over the map, one linear head per factor."""

    def __init__(self, modality: str) -> None:
        super().__init__()
        conv, channels, widths, kernel = nn.Conv2d, {"image": 3}.get(modality, 1), (24, 48, 96, 128), 3
        if modality == "imu":
            conv, channels, widths, kernel = nn.Conv1d, 6, (48, 64, 96, 128), 7
        layers: list[nn.Module] = []
        for width in widths:
            layers += [
                conv(channels, width, kernel, stride=2, padding=kernel // 2),
                nn.GroupNorm(8, width),
                nn.ReLU(),
            ]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({f: nn.Linear(2 * channels, len(FACTORS[f])) for f in CARRIES[modality]})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.trunk(x).flatten(2)
        features = torch.cat([maps.mean(2), maps.amax(2)], dim=1)
        return {factor: head(features) for factor, head in self.heads.items()}


def probe(modality: str, source: ToySource, batch_size: int, seed: int) -> tuple[dict[str, float], float]:
    """Accuracy per carried factor on held-out combinations, and the seconds it took to train."""
    torch.manual_seed(seed)
    network, features, steps = Probe(modality), FEATURES[modality], STEPS[modality]
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    train, rng, started = source.factor_table("train"), np.random.default_rng(seed), time.perf_counter()
    for step in range(steps):
        rows = train[rng.integers(len(train), size=batch_size)]
        logits = network(features(torch.from_numpy(raw(modality, rows, seed=1_000 + step))))
        loss = sum(
            nn.functional.cross_entropy(logits[f], torch.from_numpy(rows[:, ORDER.index(f)])) for f in CARRIES[modality]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - started
    rows = source.factor_table("test")
    hits: dict[str, list[Tensor]] = {f: [] for f in CARRIES[modality]}
    network.eval()
    with torch.no_grad():
        for first in range(0, len(rows), 256):
            part = rows[first : first + 256]
            logits = network(features(torch.from_numpy(raw(modality, part, seed=10_000 + first))))
            for f in hits:
                hits[f].append(logits[f].argmax(1) == torch.from_numpy(part[:, ORDER.index(f)]))
    return {f: torch.cat(h).float().mean().item() for f, h in hits.items()}, seconds


def one_hot(rows: np.ndarray, factors: list[str]) -> np.ndarray:
    """Factors as centred indicator columns, each factor with the same weight."""
    columns = [
        np.eye(len(FACTORS[f]), dtype=np.float32)[rows[:, ORDER.index(f)]] - 1 / len(FACTORS[f]) for f in factors
    ]
    return np.concatenate(columns, axis=1)


def ridge(modality: str, tables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Carried factor → predicted indicator columns of the test rows; in kernel form, the penalty chosen on `val`."""
    flat = {s: raw(modality, rows, seed=50 + i).reshape(len(rows), -1) for i, (s, rows) in enumerate(tables.items())}
    mean = flat["train"].mean(axis=0)
    scale = 1 / np.sqrt(((flat["train"] - mean) ** 2).sum(axis=1).mean())
    flat = {split: (values - mean) * scale for split, values in flat.items()}
    kernels = {split: flat[split] @ flat["train"].T for split in flat}
    factors = list(CARRIES[modality])
    target, truth = one_hot(tables["train"], factors), one_hot(tables["val"], factors)
    candidates = []
    for penalty in (0.003, 0.03, 0.3, 3.0):
        weights = np.linalg.solve(kernels["train"] + penalty * np.eye(len(target), dtype=np.float32), target)
        error = float(((kernels["val"] @ weights - truth) ** 2).mean())
        candidates.append((error, penalty, kernels["test"] @ weights))
    _, _, predicted = min(candidates, key=lambda candidate: candidate[:2])
    ends = np.cumsum([len(FACTORS[f]) for f in factors])[:-1]
    return dict(zip(factors, np.split(predicted, ends, axis=1), strict=True))


def linear_shares(source: ToySource, num_train: int) -> list[tuple[str, float, float, float]]:
    """(pair, R@1, ceiling, share of the ceiling) of linear models on both sides."""
    tables = {split: source.factor_table(split) for split in ("train", "val", "test")}
    tables["train"] = tables["train"][:num_train]
    num_pool = len(np.unique(tables["test"], axis=0))
    truth = tables["test"]
    read = {m: ridge(m, tables) for m in CARRIES if m != "text"}
    read["text"] = {f: one_hot(truth, [f]) for f in ORDER}
    found = []
    for query, pool in LINEAR_PAIRS:
        shared = [f for f in ORDER if f in carried_factors([query], CARRIES) & carried_factors([pool], CARRIES)]
        sides = [np.concatenate([read[m][f] for f in shared], axis=1) for m in (query, pool)]
        sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
        # Captions that agree tie exactly: a little noise breaks ties at random.
        scores = sides[0][num_pool:] @ sides[1][:num_pool].T
        scores = scores + np.random.default_rng(0).uniform(0, 1e-6, scores.shape)
        first = scores.argmax(axis=1)
        recall = float((truth[:num_pool][first] == truth[num_pool:]).all(axis=1).mean())
        sides_of = {"query_inputs": [query], "pool_inputs": [pool]}
        best = pair_ceiling(truth[num_pool:], truth[:num_pool], factors=ORDER, **sides_of, carries=CARRIES, ks=(1,))
        ceiling = best["ceiling_R@1"]
        found.append((f"{query}→{pool}", recall, ceiling, share_of_ceiling(recall, 1 / num_pool, ceiling)))
    return found


def milliseconds(modality: str, rows: np.ndarray, repeats: int = 5) -> float:
    """Milliseconds a sample in a batch of 64, generators included; the fastest of several batches."""
    taken = []
    for repeat in range(repeats):
        started = time.perf_counter()
        render(modality, rows[:64], [np.random.default_rng([repeat, i]) for i in range(64)])
        taken.append((time.perf_counter() - started) / 64 * 1e3)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64, help="samples a step of a probe")
    parser.add_argument("--linear-train", type=int, default=3000, help="training samples of the linear models")
    parser.add_argument("--modalities", nargs="*", default=list(STEPS), help="modalities to probe")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started, source, failures = time.perf_counter(), ToySource(num_test_queries=10), []

    print("renderer       ms/sample")
    for modality in CARRIES:
        print(f"{modality:14s} {milliseconds(modality, source.factor_table('train')):9.3f}")
    print("\nlinear models    R@1   ceiling   share (limit 0.5)")
    for pair, recall, ceiling, share in linear_shares(source, arguments.linear_train):
        print(f"{pair:14s} {recall:6.3f}   {ceiling:6.3f}   {share:6.3f}", flush=True)
        failures += [f"{pair} is readable by a linear model: {share:.3f}"] if share >= LINEAR_LIMIT else []
    print("\nprobe          factor      accuracy (target 0.97)")
    for modality in arguments.modalities:
        accuracies, seconds = probe(modality, source, arguments.batch_size, arguments.seed)
        for factor, accuracy in accuracies.items():
            print(f"{modality:14s} {factor:10s} {accuracy:7.4f}   after {seconds:.0f} s", flush=True)
            failures += [f"{factor} of {modality}: {accuracy:.4f}"] if accuracy < PROBE_TARGET else []
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    if failures:
        raise SystemExit("the toy world misses its targets: " + "; ".join(failures))


if __name__ == "__main__":
    main()
