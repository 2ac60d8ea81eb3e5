"""A share of the owners trains: nested, drawn by the seed, and for as many steps as all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bind.data.datamodule import BindDataModule
from bind.data.owners import choose_owners, count_owners, order_of_rows, training_owners
from bind.data.sources.manifest import ManifestSource

OWNERS = ["anna", "ben", "cleo", "dora", "emil"]


def source_of(folder: Path, owner: str = "{}") -> ManifestSource:
    rows = [f"{name}{i},train,{owner.format(name)},a {name} {i}" for name in OWNERS for i in range(6)]
    path = folder / "people.csv"
    path.write_text("\n".join(["key,split,owner,text", *rows, "v,val,vera,a vera"]) + "\n")
    return ManifestSource(path)


def data_of(source: ManifestSource, **options: object) -> BindDataModule:
    return BindDataModule({"people": source}, {}, ["text"], ["text"], batch_size=3, **options)  # type: ignore[arg-type]


def drawn_keys(data: BindDataModule, **place: int) -> list[str]:
    samples = data.sources[0].samples("train")
    return [samples[index].key for request in data.train_plan(**place) for index in request.indices]


def test_all_owners_are_the_plan_as_it_is_without_the_option(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    assert list(data_of(source, owner_share=1.0).train_plan()) == list(data_of(source).train_plan())
    assert data_of(source, owner_share=1.0).identity == data_of(source).identity


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_share_draws_from_its_owners_alone_for_as_many_steps(tmp_path: Path, seed: int) -> None:
    source = source_of(tmp_path)
    small, large = (data_of(source, owner_share=share, seed=seed) for share in (0.4, 0.8))
    keys = drawn_keys(small)
    assert len(keys) == 30  # an epoch of all owners
    owners = {key[:-1] for key in keys}
    assert owners == choose_owners(OWNERS, 0.4, seed)
    assert owners < {key[:-1] for key in drawn_keys(large)}
    assert set(keys) == {f"{owner}{i}" for owner in owners for i in range(6)}
    ranks = [drawn_keys(small, rank=rank, world_size=2) for rank in (0, 1)]
    assert all(not set(ranks[0][i : i + 3]) & set(ranks[1][i : i + 3]) for i in range(0, 15, 3))
    resumed = data_of(source, owner_share=0.4, seed=seed).train_plan(start_step=4)
    assert list(resumed) == list(small.train_plan())[4:]
    assert small.identity != data_of(source, seed=seed).identity


def test_the_seed_draws_the_owners() -> None:
    drawn = {frozenset(choose_owners(OWNERS, 0.4, seed)) for seed in range(20)}
    assert len(drawn) > 3
    assert set().union(*drawn) == set(OWNERS)
    assert [count_owners(5, share) for share in (0.01, 0.5, 1.0)] == [1, 2, 5]


def test_an_order_of_blocks_stays_one() -> None:
    def blocks(rng: np.random.Generator, size: int) -> np.ndarray:
        return (rng.permutation(size // 3)[:, None] * 3 + np.arange(3)).ravel()

    rows = np.array([0, 1, 2, 6, 7, 8, 10])
    order = order_of_rows(blocks, rows, 12)(np.random.default_rng(0), 7)
    assert sorted(order.tolist()) == rows.tolist()
    assert abs(order.tolist().index(0) - order.tolist().index(2)) == 2


def test_what_is_no_share_and_samples_without_owner(tmp_path: Path) -> None:
    source = source_of(tmp_path, owner="")
    with pytest.raises(ValueError, match="'people' has training samples without an owner: fill the column owner"):
        training_owners([source])
    for share in (0, 1.5, "half"):
        with pytest.raises(ValueError, match=rf"data\.owner_share={share}: give a share"):
            data_of(source, owner_share=share)
