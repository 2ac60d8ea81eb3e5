import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.two_ranks import retrieval_parts, run_retrieval, split_parts

from bind.data.value_ids import ValueIds
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
    split.mark_equal_values({"text": ValueIds.of({("p", 0): 5, ("q", 0): 5, ("q", 1): 2, ("r", 0): 9})})
    assert split.query_and_pool_rows("audio", "text", one_per_group=False)[1].tolist() == [0, 2, 3]
    assert split.query_and_pool_rows("text", "audio", one_per_group=False)[0].tolist() == [0, 1, 2, 3]
    assert split.query_and_pool_rows("audio", "text", one_per_group=True)[1].tolist() == [0, 3]


@pytest.mark.parametrize("ids", [{}, {("a", 0): 1}, {("a", 0): 1, ("b", 0): 2}, {("other", 0): 1, ("a", 0): 1}])
def test_where_all_values_differ_none_is_marked(ids):
    split = EmbeddedSplit(["a", "b"], torch.tensor([1, 2]), {"image": torch.eye(2)}, {"image": torch.arange(2)})
    split.mark_equal_values({"image": ValueIds.of(ids), "audio": ValueIds.of({("a", 0): 1, ("b", 0): 1})})
    assert split.value_ids == {}


def test_many_sounds_that_share_few_pictures_are_ranked_among_the_few():
    """Without any group: a picture is right for each of its sounds, and finds each of them."""
    picture_of = torch.tensor([0, 1, 0, 1, 0, 2])
    z = {"audio": torch.eye(3)[picture_of], "image": torch.eye(3)[picture_of]}
    split = EmbeddedSplit([*"abcdef"], torch.arange(6), z, {m: torch.arange(6) for m in z})
    ids = ValueIds.of({(key, 0): int(i) for key, i in zip("abcdef", picture_of, strict=True)})
    split.mark_equal_values({"image": ids})
    figures = split.retrieval("audio", "image", one_per_group=False)
    assert (figures["pool"], figures["queries"], figures["R@1"], figures["mean_rank"]) == (3, 6, 1.0, 1.0)
    assert figures["chance_R@1"] == pytest.approx(1 / 3)
    back = split.retrieval("image", "audio", one_per_group=False)
    assert (back["pool"], back["map"], back["recall@5"]) == (6, 1.0, 1.0)
    assert back["chance_R@1"] == pytest.approx((3 * 3 / 6 + 2 * 2 / 6 + 1 / 6) / 6)


@st.composite
def shared_values(draw):
    """Groups of samples, and two modalities whose values several samples may share."""
    num_samples = draw(st.integers(2, 12))
    groups = draw(st.lists(st.integers(0, 4), min_size=num_samples, max_size=num_samples))
    numbers = [draw(st.lists(st.integers(0, 3), max_size=2)) for _ in range(2 * num_samples)]
    return groups, {"audio": numbers[:num_samples], "image": numbers[num_samples:]}


@pytest.mark.slow
@given(shared_values(), st.booleans())
def test_figures_of_shared_values_are_those_of_the_definition(case, one_per_group):
    """Ranks counted one by one: distinct values of the pool, relevant where any sample that holds it is of a group of
    the query's value; an irrelevant item of the same score stands before."""
    groups, numbers = case
    vectors = torch.nn.functional.normalize(torch.tensor([[3.0, 1], [1, 2], [-1, 1], [-2, -1]]), dim=1)
    flat = {m: [(row, v) for row, values in enumerate(numbers[m]) for v in values] for m in numbers}
    if not all(flat.values()):
        return
    split = EmbeddedSplit(
        [str(row) for row in range(len(groups))],
        torch.tensor(groups),
        {m: vectors[[v for _, v in flat[m]]] for m in flat},
        {m: torch.tensor([row for row, _ in flat[m]]) for m in flat},
    )
    places = {m: [(str(row), i) for row, values in enumerate(numbers[m]) for i in range(len(values))] for m in numbers}
    ids = {m: dict(zip(places[m], [v for _, v in flat[m]], strict=True)) for m in flat}
    split.mark_equal_values({m: ValueIds.of(ids_of_places) for m, ids_of_places in ids.items()})
    in_pool = split.is_pool_item(["image"]).tolist() if one_per_group else [True] * len(groups)
    pool = {
        v: {groups[row] for row, w in flat["image"] if w == v and in_pool[row]}
        for row, v in flat["image"]
        if in_pool[row]
    }
    ranks, num_relevant = [], []
    for row, v in flat["audio"]:
        if one_per_group and in_pool[row]:
            continue
        wanted = {groups[other] for other, w in flat["audio"] if w == v}
        cosine = {p: float(vectors[v] @ vectors[p]) for p in pool}
        relevant = [p for p in pool if pool[p] & wanted]
        if relevant:
            best = max(cosine[p] for p in relevant)
            ranks.append(1 + sum(cosine[p] >= best - 1e-5 for p in pool if p not in relevant))
            num_relevant.append(len(relevant))
    if not ranks:
        return
    figures = split.retrieval("audio", "image", one_per_group=one_per_group)
    assert figures["pool"] == len(pool)
    assert figures["queries"] == len(ranks)
    assert figures["mean_rank"] == pytest.approx(sum(ranks) / len(ranks))
    assert figures["chance_R@1"] == pytest.approx(sum(num_relevant) / len(ranks) / len(pool))
