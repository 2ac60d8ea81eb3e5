from concurrent.futures import wait

import pytest
import torch

from bind.data.prefetch import PrefetchLoader


class Squares(torch.utils.data.Dataset):
    def __getitem__(self, index):
        if index == 100:
            raise ValueError("no such square")
        return torch.full((4,), index**2)


def loader(num_workers, indices=range(8), **options):
    return PrefetchLoader(Squares(), sampler=list(indices), batch_size=None, num_workers=num_workers, **options)


def squares(batches):
    return [int(batch[0]) for batch in batches]


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_in_order_in_every_epoch(num_workers):
    batches = loader(num_workers, persistent_workers=num_workers > 0)
    assert len(batches) == 8
    for _ in range(3):
        assert squares(batches) == [i**2 for i in range(8)]


def test_an_epoch_left_in_the_middle_does_not_disturb_the_next():
    batches = loader(1, persistent_workers=True)
    left = iter(batches)
    next(left), next(left)
    assert squares(batches) == [i**2 for i in range(8)]


def test_the_next_batch_waits_before_it_is_needed():
    batches = loader(1)
    iteration = iter(batches)
    next(iteration)
    done, _ = wait([batches._next_batch], timeout=30)
    assert [int(future.result()[0]) for future in done] == [1]
    iteration.close()


def test_what_a_worker_raises_is_raised_in_place_of_its_batch():
    iteration = iter(loader(1, [3, 100, 4]))
    assert int(next(iteration)[0]) == 9
    with pytest.raises(ValueError, match="no such square"):
        next(iteration)
