import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.metrics.ceiling import carried_factors, ceiling_recall, pair_ceiling, share_of_ceiling

CARRIES = {"image": ("shape", "colour", "size"), "audio": ("shape",), "imu": ("size",), "scent": ("smell",)}


def simulated_recall(query: np.ndarray, pool: np.ndarray, relevant: np.ndarray, k: int, rounds: int) -> float:
    """R@k of a ranker that puts what agrees on the shared factors first and breaks ties by chance."""
    rng = np.random.default_rng(0)
    agree = (query[:, None] == pool[None]).all(axis=2).astype(float)
    hits = 0.0
    for _ in range(rounds):
        order = np.argsort(-(agree + 0.5 * rng.random(agree.shape)), axis=1)[:, :k]
        hits += (order == relevant[:, None]).any(axis=1).mean()
    return hits / rounds


@pytest.mark.slow
@pytest.mark.parametrize("columns", [[0], [1], [0, 2], [0, 1, 2], []])
@pytest.mark.parametrize("k", [1, 3])
def test_the_ceiling_is_what_a_perfect_ranker_with_random_ties_scores(columns: list[int], k: int) -> None:
    rng = np.random.default_rng(3)
    world = np.stack(np.unravel_index(rng.permutation(24)[:11], (4, 3, 2)), axis=1)
    relevant = np.concatenate([np.arange(11), rng.integers(0, 11, 8)])  # some combinations are asked for more often
    query, pool = world[relevant][:, columns], world[:, columns]
    exact = ceiling_recall(query, pool, ks=(k,))[f"ceiling_R@{k}"]
    # 1000 rounds of 19 queries: the standard error is under 0.004.
    assert exact == pytest.approx(simulated_recall(query, pool, relevant, k, rounds=1000), abs=0.016)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 10_000))
def test_more_shared_factors_and_deeper_rankings_never_lower_it(rows: int, num_shared: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 3, (rows, 4))
    fewer = ceiling_recall(table[:, :num_shared], table[:, :num_shared], ks=(1, 5, 10))
    more = ceiling_recall(table[:, : num_shared + 1], table[:, : num_shared + 1], ks=(1, 5, 10))
    assert all(more[key] >= fewer[key] for key in fewer)
    assert fewer["ceiling_R@1"] <= fewer["ceiling_R@5"] <= fewer["ceiling_R@10"] <= 1


def test_nothing_shared_is_chance_and_everything_shared_is_one() -> None:
    table = np.stack(np.unravel_index(np.arange(20), (5, 4)), axis=1)
    assert ceiling_recall(table[:, :0], table[:, :0], ks=(1, 5)) == pytest.approx(
        {"ceiling_R@1": 0.05, "ceiling_R@5": 0.25}
    )
    assert ceiling_recall(table, table, ks=(1,)) == {"ceiling_R@1": 1.0}


def test_a_fused_modality_carries_the_union() -> None:
    assert carried_factors(["audio", "imu"], CARRIES) == {"shape", "size"}
    table = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1)
    factors = ("shape", "colour", "size")
    world = {"factors": factors, "pool_inputs": ["image"], "carries": CARRIES, "ks": (1,)}
    alone = pair_ceiling(table, table, query_inputs=["audio"], **world)
    fused = pair_ceiling(table, table, query_inputs=["audio", "imu"], **world)
    assert (alone["ceiling_R@1"], fused["ceiling_R@1"]) == (0.25, 0.5)


def test_share_of_ceiling_runs_from_chance_to_the_ceiling() -> None:
    assert [share_of_ceiling(score, 0.1, 0.6) for score in (0.1, 0.35, 0.6)] == pytest.approx([0, 0.5, 1])
    with pytest.raises(ValueError, match="share no factor"):
        share_of_ceiling(0.1, chance=0.1, ceiling=0.1)


def test_errors_name_what_is_wrong() -> None:
    table = np.array([[0, 1], [1, 1]])
    with pytest.raises(ValueError, match="query row 1 agrees with no pool item"):
        ceiling_recall(table, table[:1])
    with pytest.raises(ValueError, match="same shared factors"):
        ceiling_recall(table, table[:, :1])
    with pytest.raises(ValueError, match="needs queries and a pool"):
        ceiling_recall(table[:0], table)
    with pytest.raises(ValueError, match="thermal"):
        carried_factors(["audio", "thermal"], CARRIES)
    with pytest.raises(ValueError, match="no column for \\['smell'\\]"):
        pair_ceiling(
            table, table, factors=("shape", "size"), query_inputs=["scent"], pool_inputs=["scent"], carries=CARRIES
        )
