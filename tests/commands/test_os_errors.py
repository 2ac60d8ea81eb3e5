"""Errors of the system at the commands' boundary: one line with the file and what to do."""

import errno
import os

import pytest
from omegaconf import OmegaConf

from bind.commands import cli, running
from bind.commands.checkout import CONFIG_DIR
from bind.commands.overrides import advice
from bind.files.reading import REMEDIES


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_a_job_names_the_file_and_the_remedy(number, capsys):
    def job(cfg):
        raise OSError(number, os.strerror(number), "/data/a.csv")

    with pytest.raises(SystemExit) as ended:
        running.run_job(job, OmegaConf.create({}))
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"error: /data/a.csv: {os.strerror(number)}; {REMEDIES[number]}\n"


def test_a_plain_command_does_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running, "load", lambda job: lambda arguments: tmp_path.read_bytes())
    with pytest.raises(SystemExit):
        cli._plain_command("sweep-report", [])
    err = capsys.readouterr().err
    assert err == f"error: {tmp_path}: {os.strerror(errno.EISDIR)}; name a file, not a folder\n"


def test_so_does_hydra_where_it_makes_the_folder():
    refusal = "Traceback …\nPermissionError: [Errno 13] Permission denied: '/proc/runs'\n"
    assert advice(refusal, CONFIG_DIR, "train", []) == [
        "/proc/runs: Permission denied; allow it to be read and written, or choose another place"
    ]
