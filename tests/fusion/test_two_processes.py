import pytest
import torch
from support import fused_ranks, processes


@pytest.mark.ranks
def test_gradients_of_every_learned_fusion_are_those_of_one_process(tmp_path):
    of_ranks = processes.run(fused_ranks.cases, 2, tmp_path)
    for head in fused_ranks.HEADS:
        whole = fused_ranks.gradients(head, slice(None), as_ddp=False)
        for of_rank in of_ranks:
            torch.testing.assert_close(of_rank[head.kind], whole, atol=1e-6, rtol=1e-4)
