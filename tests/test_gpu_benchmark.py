"""The script of figures of a GPU, with tiny sizes on the CPU."""

import argparse
import importlib
import json

import pytest
import torch
from support import documents
from torch.nn.functional import normalize

from bind.losses import info_nce

CPU = argparse.Namespace(device=torch.device("cpu"), quick=True)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(documents.ROOT / "benchmarks"))
    precision = torch.get_float32_matmul_precision()
    yield importlib.import_module("gpu")
    torch.set_float32_matmul_precision(precision)


def test_the_loss_that_recomputes_chunks_is_the_loss(benchmark):
    z_a, z_b = (normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(s)), dim=-1) for s in (0, 1))
    losses = [loss(z_a.requires_grad_(), z_b, torch.tensor(10.0)) for loss in (info_nce, benchmark.chunked_loss)]
    torch.testing.assert_close(*losses)
    small = benchmark.chunked_loss(z_a, z_b, torch.tensor(10.0), chunk_size=7)
    torch.testing.assert_close(small, losses[0])
    torch.testing.assert_close(*(torch.autograd.grad(x, z_a)[0] for x in (small, losses[0])))


@pytest.mark.slow
@pytest.mark.parametrize(("section", "num_rows"), [("loss", 7), ("step", 2), ("metrics", 1)])
def test_a_section_gives_its_rows(section, num_rows, benchmark):
    measure, limit_seconds = benchmark.SECTIONS[section]
    rows = measure(CPU)
    assert len(rows) == num_rows
    assert json.loads(json.dumps(rows)) == [list(row) for row in rows]
    assert limit_seconds > 0


def test_all_limits_together_are_eight_minutes(benchmark):
    assert sum(limit_seconds for _, limit_seconds in benchmark.SECTIONS.values()) <= 8 * 60


@pytest.mark.slow
def test_a_section_that_takes_too_long_is_named_and_the_next_one_runs(benchmark, capsys):
    status = benchmark.main(["--device", "cpu", "--quick", "--sections", "loss", "metrics", "--limit-seconds", "0.05"])
    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.endswith("failed: loss, metrics\n")
    lines = [line.split() for line in printed.out.splitlines() if "FAILED" in line]
    assert [line[0] for line in lines] == ["loss", "metrics"]
    assert all(" ".join(line).endswith("took longer than 0.05 s") for line in lines)


@pytest.mark.slow
def test_a_section_that_fails_is_named_and_the_others_are_in_the_table(benchmark, capsys, monkeypatch):
    monkeypatch.setitem(benchmark.SECTIONS, "nothing", (len, 60))  # its own process does not know it
    status = benchmark.main(["--device", "cpu", "--quick", "--sections", "nothing", "metrics"])
    printed = capsys.readouterr()
    assert status == 1
    assert "ranking of 512 items for 64 queries" in printed.out
    assert "Memory, bf16 and compile need a GPU." in printed.out
    [failed] = [line for line in printed.out.splitlines() if "FAILED" in line]
    assert failed.startswith("nothing")
    assert "invalid choice" in failed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_way_to_try_the_script_is_said(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main([])
    assert "--device cpu --quick" in capsys.readouterr().err
