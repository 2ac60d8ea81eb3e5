import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.two_ranks import retrieval_parts, run_retrieval, split_parts

from bind.evaluation.embedded import EmbeddedSplit


def assert_is_the_whole_split(keys, groups, z, rows):
    assert keys == ["a", "b", "c", "d"]
    assert groups.tolist() == [ord(key) for key in keys]
    assert {m: [keys[row] for row in r.tolist()] for m, r in rows.items()} == {
        "text": ["a", "b", "c", "c"],
        "audio": ["d"],
    }
    for m, r in rows.items():
        assert z[m][:, 0].tolist() == [float(ord(keys[row])) for row in r.tolist()]
    assert z["text"][:, 1].tolist() == [0, 0, 0, 1]


def test_one_process_gathers_every_sample_once():
    split = EmbeddedSplit.gather(split_parts(0) + split_parts(1))
    assert_is_the_whole_split(split.keys, split.group_ids_N, split.z, split.rows)


def test_two_processes_gather_the_same_split_on_both(ranks):
    for result in ranks:
        assert_is_the_whole_split(*result["split"].values())


def test_a_rank_without_batches_takes_part(ranks):
    for result in ranks:
        split = result["split with an idle rank"]
        assert split["keys"] == ["a", "b", "c"]
        assert split["rows"]["text"].tolist() == [0, 1, 2, 2]


def test_collecting_is_gathering_in_one_process():
    parts = [*split_parts(0), split_parts(1)[1]]
    collected, gathered = EmbeddedSplit.collect(parts), EmbeddedSplit.gather(parts)
    assert collected.keys == gathered.keys
    for m in gathered.z:
        assert torch.equal(collected.z[m], gathered.z[m])
        assert torch.equal(collected.rows[m], gathered.rows[m])


def test_with_one_per_group_the_first_sample_is_in_the_pool_and_the_others_are_queries():
    z = {"image": torch.eye(4), "audio": torch.eye(4)[[1, 0, 2]]}
    rows = {"image": torch.arange(4), "audio": torch.tensor([0, 1, 3])}
    split = EmbeddedSplit(["p", "q", "r", "s"], torch.tensor([7, 8, 7, 8]), z, rows)
    queries, pool = split.query_and_pool_rows("audio", "image", one_per_group=True)
    assert split.rows["audio"][queries].tolist() == [3]
    assert split.rows["image"][pool].tolist() == [0, 1]
    everything, whole = split.query_and_pool_rows("audio", "image", one_per_group=False)
    assert (len(everything), len(whole)) == (3, 4)
    figures = split.retrieval("audio", "image", one_per_group=True)
    assert (figures["queries"], figures["pool"]) == (1, 2)


def test_one_per_group_finds_a_pool_where_sources_share_groups_but_not_modalities():
    z = {"image": torch.eye(4), "audio": torch.eye(4)[:2], "imu": torch.eye(4)[2:]}
    rows = {"image": torch.arange(6)[[0, 1, 3, 4]], "audio": torch.tensor([0, 1]), "imu": torch.tensor([3, 5])}
    split = EmbeddedSplit([*"abcdef"], torch.tensor([7, 7, 7, 7, 7, 7]), z, rows)
    for query, pool, samples_of_queries, samples_of_pool in [
        ("image", "imu", [0, 1, 4], [3]),
        ("imu", "image", [3, 5], [0]),
        ("image", "audio", [1, 3, 4], [0]),
    ]:
        queries, candidates = split.query_and_pool_rows(query, pool, one_per_group=True)
        assert split.rows[query][queries].tolist() == samples_of_queries
        assert split.rows[pool][candidates].tolist() == samples_of_pool


@pytest.mark.slow
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.data())
def test_a_pool_item_is_the_first_of_its_group(groups, data):
    samples = st.lists(st.sampled_from(range(len(groups))), max_size=40).map(sorted)
    rows = {m: torch.tensor(data.draw(samples), dtype=torch.long) for m in ("image", "audio")}
    split = EmbeddedSplit([str(i) for i in range(len(groups))], torch.tensor(groups), {}, rows)
    for pool in (["image"], ["audio"], ["image", "audio"]):
        seen, expected = set(), []
        for row, group in enumerate(groups):
            is_first = group not in seen and any(row in rows[m] for m in pool)
            expected.append(is_first)
            seen |= {group} if is_first else set()
        assert split.is_pool_item(pool).tolist() == expected


def test_two_processes_find_the_figures_of_one(ranks):
    expected = run_retrieval(retrieval_parts(0, 21))
    assert expected["audio image False"]["queries"] == 28
    for result in ranks:
        assert result["retrieval"] == expected


def test_a_pool_holds_a_repeated_value_once_and_every_repetition_is_a_query():
    z = {"text": torch.eye(4)[[0, 0, 1, 2]], "audio": torch.eye(4)[:3]}
    rows = {"text": torch.tensor([0, 1, 1, 2]), "audio": torch.arange(3)}
    split = EmbeddedSplit(["p", "q", "r"], torch.tensor([7, 7, 8]), z, rows)
    split.repeated["text"] = torch.tensor([False, True, False, False])
    assert split.query_and_pool_rows("audio", "text", one_per_group=False)[1].tolist() == [0, 2, 3]
    assert split.query_and_pool_rows("text", "audio", one_per_group=False)[0].tolist() == [0, 1, 2, 3]
    assert split.query_and_pool_rows("audio", "text", one_per_group=True)[1].tolist() == [0, 3]
