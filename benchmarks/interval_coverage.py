"""How often 95 % intervals hold the truth. python benchmarks/interval_coverage.py

Queries of a cluster (a person, a recording) are right with its own rate, drawn from a beta distribution around the true
rate: `effect` is the correlation of two queries of one cluster, 0 where clusters are alike. For each setting, data sets
are drawn, and the table has the share of them whose interval of R@1 holds the true rate: of the plain percentiles of
the bootstrap, and of the interval that stands in metrics.json, with their mean widths.
"""

from __future__ import annotations

import argparse

import numpy as np

from bind.metrics.bootstrap import resampled_means, share_interval


def coverage(
    num_clusters: int, num_queries: int, rate: float, effect: float, *, num_data_sets: int, seed: int
) -> tuple[float, float, float, float]:
    """Share of data sets whose plain percentiles, and whose `share_interval`, hold `rate`; the mean widths of both.

    Args:
        num_clusters: in each data set.
        num_queries: of each cluster.
        rate: the true share of queries that are right.
        effect: correlation of two queries of one cluster, 0 to below 1.
        num_data_sets: that are drawn.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng([seed, num_clusters, num_queries, round(100 * rate), round(100 * effect)])
    cluster_N = np.repeat(np.arange(num_clusters), num_queries)
    bounds = np.empty((2, num_data_sets, 2))
    for index in range(num_data_sets):
        strength = (1 - effect) / effect if effect else np.inf
        rate_C = np.full(num_clusters, rate)
        if effect:
            rate_C = rng.beta(rate * strength, (1 - rate) * strength, num_clusters)
        hits_N = (rng.random(len(cluster_N)) < rate_C[cluster_N]).astype(np.float64)
        draws_B = resampled_means(hits_N[:, None], cluster_N, num_clusters=num_clusters, seed=index)[:, 0]
        bounds[0, index] = np.quantile(draws_B, [0.025, 0.975])
        bounds[1, index] = share_interval(draws_B, hits_N.mean(), len(hits_N), num_clusters)
    is_inside = (bounds[..., 0] <= rate + 1e-12) & (rate - 1e-12 <= bounds[..., 1])
    widths = (bounds[..., 1] - bounds[..., 0]).mean(axis=1)
    return float(is_inside[0].mean()), float(is_inside[1].mean()), float(widths[0]), float(widths[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=1000, help="for each setting")
    parser.add_argument("--clusters", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--queries", type=int, default=10, help="of each cluster")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.5, 0.9])
    parser.add_argument("--effects", type=float, nargs="+", default=[0.0, 0.1, 0.2])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.queries} queries of each cluster, {options.data_sets} data sets of each setting")
    print(f"{'clusters':>8} {'rate':>6} {'effect':>7} {'percentiles':>12} {'interval':>9} {'widths':>14}")
    for num_clusters in options.clusters:
        covered = []
        for rate in options.rates:
            for effect in options.effects:
                plain, own, *widths = coverage(
                    num_clusters, options.queries, rate, effect, num_data_sets=options.data_sets, seed=options.seed
                )
                covered.append((plain, own))
                width = " → ".join(f"{width:.3f}" for width in widths)
                print(f"{num_clusters:>8} {rate:>6} {effect:>7} {plain:>12.3f} {own:>9.3f} {width:>14}", flush=True)
        mean, least = np.mean(covered, axis=0), np.min(covered, axis=0)
        print(f"{num_clusters:>8} {'mean':>14} {mean[0]:>12.3f} {mean[1]:>9.3f}")
        print(f"{num_clusters:>8} {'least':>14} {least[0]:>12.3f} {least[1]:>9.3f}", flush=True)


if __name__ == "__main__":
    main()
