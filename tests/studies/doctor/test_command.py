import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from bind.commands.cli import main
from bind.commands.command_table import COMMANDS
from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.show import print_diagnosis


@pytest.mark.slow
def test_the_exit_status_tells_errors_from_warnings(world, as_command, capsys):
    arguments = ("doctor", str(world.manifest), "--anchor", "none")
    assert as_command(main, *arguments) == 0
    assert "no problem found" in capsys.readouterr().out

    world.edit_sound(0, lambda x: x * 1e-4)
    assert as_command(main, *arguments) == 0
    out = capsys.readouterr().out
    assert re.search(r"warning: silent +audio +1 +toy-train-\S+\.wav +its peak is", out)
    assert out.rstrip().endswith("1 warning: nothing that spoils a run")

    world.path(1, "imu").unlink()
    assert as_command(main, *arguments, "--json", "told.json") == 1
    assert "1 error, 1 warning: training stops at an error, or" in capsys.readouterr().out
    told = json.loads(Path("told.json").read_text())
    assert [p["problem"] for p in told["problems"]] == ["missing file", "silent"]


@pytest.mark.slow
def test_what_is_no_manifest_is_one_message(tmp_path, as_command, capsys):
    (tmp_path / "m.csv").write_text("name,split\na,train\n")
    assert as_command(main, "doctor", str(tmp_path / "m.csv")) == 1
    assert "error: " in (err := capsys.readouterr().err)
    assert "the column 'key' is missing" in err
    assert as_command(main, "doctor", str(tmp_path / "gone.csv")) == 1
    assert "no such manifest" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_names_three_and_counts_all_and_fits_the_terminal(world):
    for index in range(5):
        world.path(index, "imu").unlink()
    diagnosis = diagnose(world.manifest)
    console = Console(width=100, record=True, force_terminal=True, file=io.StringIO())
    print_diagnosis(diagnosis, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert text.count(".csv") == 3
    assert re.search(r"missing file +imu +5 ", text)


@pytest.mark.slow
def test_into_a_file_no_line_is_padded(world, as_command, capsys):
    world.path(1, "imu").unlink()
    as_command(main, "doctor", str(world.manifest), "--anchor", "none")
    out = capsys.readouterr().out
    assert "missing file" in out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert "\n\n\n" not in out


def test_help_lists_the_doctor(as_command, capsys):
    assert as_command(main) == 0
    assert "doctor" in capsys.readouterr().out
    assert as_command(main, "doctor", "--help") == 0
    assert "--anchor" in capsys.readouterr().out
    assert not COMMANDS["doctor"].is_hydra


@pytest.mark.parametrize("arguments", [("--workers", "-1"), ("--json", "no/such/folder.json"), ("--fast",), ()])
def test_wrong_arguments_are_refused(arguments, as_command, capsys):
    assert as_command(main, "doctor", *(["m.csv"] if arguments else []), *arguments) == 2
    assert "usage: bindspace doctor" in capsys.readouterr().err
