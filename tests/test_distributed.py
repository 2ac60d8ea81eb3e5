import torch

from bind.distributed import gather_objects, gather_rows, rank, row_counts, world_size


def test_one_process_gathers_nothing():
    x = torch.ones(3, 2, requires_grad=True)
    assert (rank(), world_size()) == (0, 1)
    assert row_counts(3, x.device) == [3]
    assert gather_rows(x, [3]) is x
    assert gather_objects("item") == ["item"]


def test_every_rank_gets_all_rows_in_rank_order(ranks):
    for result in ranks:
        gathered = result["gather"]
        assert gathered["world_size"] == 2
        assert gathered["counts"] == [1, 2]
        assert gathered["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]
        assert gathered["constant"].tolist() == [0, 0, 1]
        assert not gathered["constant_has_grad"]
        assert gathered["objects"] == [{"rank": 0}, {"rank": 1}]


def test_a_row_gets_the_gradient_of_its_use_on_every_rank(ranks):
    assert ranks[0]["gather"]["grad"].tolist() == [[3, 3]]
    assert ranks[1]["gather"]["grad"].tolist() == [[6, 6], [9, 9]]
