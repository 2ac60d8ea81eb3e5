"""What comes from elsewhere can't command a terminal, and every terminal can show what is printed."""

import io
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.terminal import PrintableConsole, PrintableRecord, PrintableStream, printable, printable_errors

HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\x1b[1;1Hall good\r\x08\x9b2J\u202e\x7f"


def has_control(text):
    return any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c in "\u202e\u2028" for c in text)


@pytest.mark.slow
@given(st.text())
def test_no_control_character_is_left_and_plain_text_stays(text):
    assert not has_control(printable(text))
    assert text == printable(text) or not text.isprintable()


def test_letters_of_all_languages_stay():
    text = "Ωμέγα 猫 кот 🐈 naïve\n\tx"
    assert printable(text) == text


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("kind", [Console, PrintableConsole])
def test_a_table_commands_nothing(terminal, kind):
    file = io.StringIO()
    console = kind(file=file, force_terminal=terminal, width=300, color_system=None)
    cells = Cells(HOSTILE, HOSTILE, (HOSTILE, "n"), {HOSTILE: [(HOSTILE, "1")]})
    print_cells(cells, console)
    assert not has_control(file.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")) or terminal
    assert "\x1b]0" not in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()
    assert r"\x1b[2J" in file.getvalue()


def test_a_stream_and_a_log_record_command_nothing():
    file = io.StringIO()
    print(HOSTILE, file=PrintableStream(file))
    assert not has_control(file.getvalue())
    record = PrintableRecord("bind", logging.INFO, "x.py", 1, "key %s", (HOSTILE,), None)
    assert not has_control(record.getMessage())


def test_an_error_commands_nothing():
    @printable_errors()
    def fail(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match="PWNED") as raised:
        fail(HOSTILE)
    assert not has_control(str(raised.value))
    with pytest.raises(ValueError, match=r"^plain$"):
        fail("plain")


def test_rich_colours_its_own_text_on_a_printable_stream(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stdout", PrintableStream(file))
    PrintableConsole(force_terminal=True, color_system="standard").print(f"[red]{HOSTILE}[/red]")
    assert file.getvalue().startswith("\x1b[31m")
    assert "\x1b]0" not in file.getvalue()


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_command_without_a_reader_ends_quietly(size, capsys):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe:
        stream = PrintableStream(pipe)
        os.close(reader)
        with pytest.raises(SystemExit) as ended:
            print("x" * size, file=stream, flush=True)
        assert ended.value.code == 141
        print("y" * size, file=stream, flush=True)  # goes nowhere, without another error
        stream.piped.write("z")
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_without_a_reader_ends_quietly(monkeypatch, capsys, terminal):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr("sys.stdout", PrintableStream(pipe))
        os.close(reader)
        cells = Cells("title", "", ("name", "n"), {"": [("x" * 100, "1")] * 2000})
        with pytest.raises(SystemExit) as ended:
            print_cells(cells, PrintableConsole(force_terminal=terminal, width=200))
        assert ended.value.code == 141
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("both", ["", "2>&1"])
@pytest.mark.parametrize("program", ["for i in range(99999): print(i)", "print(1); print(2)", "logging.warning('x')"])
def test_head_gets_its_line_and_nothing_else_is_said(program, both):
    code = f"import logging; from bind.terminal import prepare_terminal; prepare_terminal(); {program}"
    code = code.replace("; for", "\nfor")
    command = f'{sys.executable} -c "{code}" {both} | head -n 1'
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr in ("", "WARNING:root:x\n")
    assert len(ended.stdout.splitlines()) <= 1


PROGRAM = """
import sys, logging
from bind.terminal import prepare_terminal
prepare_terminal()
prepare_terminal()
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
print_cells(Cells("× ─ → naïve 猫 \\x1b[2J", "", ("class", "n"), {"": [("kot \\udcff", "1")]}))
logging.warning("→ %s", "\\x1b[2J")
print("half–done …", file=sys.stderr)
raise ValueError("\\x1b[2J 猫")
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "cp437"])
def test_every_encoding_of_a_terminal_works(encoding):
    environment = {"PYTHONIOENCODING": encoding, "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=False)
    text = (ended.stdout + ended.stderr).decode(encoding)
    assert "UnicodeEncodeError" not in text
    assert "\x1b" not in text
    assert "kot" in text
    assert text.rstrip().splitlines()[-1].startswith("ValueError: \\x1b[2J")
