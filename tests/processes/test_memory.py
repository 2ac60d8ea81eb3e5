import numpy as np
import pytest

from bind.processes import memory

MIB = 2**20


@pytest.mark.slow
def test_the_peak_is_of_the_time_since_it_was_forgotten():
    if not memory.forget_peak():
        pytest.skip("this system does not let a process forget its peak")
    before = memory.peak_bytes()
    np.ones(64 * MIB, dtype=np.uint8)
    assert 60 * MIB < memory.peak_bytes() - before < 80 * MIB
    memory.forget_peak()
    assert memory.peak_bytes() - before < 20 * MIB


@pytest.mark.parametrize(
    ("line", "folder", "files"),
    [
        ("0::/job", "job", {"memory.max": "1000", "memory.current": "700"}),
        ("4:memory:/job", "memory/job", {"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "700"}),
    ],
)
def test_a_control_group_has_less_than_the_machine(tmp_path, monkeypatch, line, folder, files):
    groups, machine = tmp_path / "cgroup", tmp_path / "meminfo"
    groups.write_text(f"{line}\n8:pids:/elsewhere\n")
    machine.write_text("MemTotal: 90 kB\nMemAvailable: 50 kB\n")
    (tmp_path / folder).mkdir(parents=True)
    for name, text in {**files, "memory.stat": "inactive_file 30\ntotal_inactive_file 30\n"}.items():
        (tmp_path / folder / name).write_text(text)
    for name, path in {"GROUPS": groups, "MACHINE": machine, "GROUPS_ROOT": tmp_path}.items():
        monkeypatch.setattr(memory, name, path)
    assert memory.free_bytes() == 1000 - 700 + 30
    (tmp_path / folder / next(iter(files))).write_text("max" if line.startswith("0") else str(2**63 - 4096))
    assert memory.free_bytes() == 50 * 1024


def test_a_system_that_says_nothing_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "absent")
    assert memory.free_bytes() is None
