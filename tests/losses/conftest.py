import pytest
from support import loss_cases, processes


@pytest.fixture(scope="session")
def four_ranks(tmp_path_factory):
    """Results of every case of `loss_cases`, one dict per rank."""
    return processes.run(loss_cases.run_all, 4, tmp_path_factory.mktemp("four_ranks"))
