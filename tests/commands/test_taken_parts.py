from pathlib import Path
from types import SimpleNamespace

from support.trees import write_sound

from bind.commands.taken_parts import print_taken_parts, recordings_of
from bind.data.transforms.audio import AudioTransform
from bind.types import Clip, Sample

BINDER = SimpleNamespace(transforms={"audio": AudioTransform(sample_rate_hz=8000, window_seconds=1.0), "text": str})


def test_of_long_files_one_line_says_which_part_is_taken(tmp_path, capsys):
    for name, seconds in (("long", 4), ("longer", 6), ("short", 1)):
        write_sound(tmp_path / f"{name}.wav", seconds)
    long, longer, short = (("audio", str(tmp_path / f"{name}.wav")) for name in ("long", "longer", "short"))
    print_taken_parts(BINDER, [short, ("text", "a dog")])
    assert capsys.readouterr() == ("", "")
    print_taken_parts(BINDER, [short, long, longer])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"2 of 3 recordings are longer than what is taken of each, such as {long[1]}: the middle 1 s of 4.0 s, from 1.5"
    )
    assert line.endswith("from when to when")
    print_taken_parts(BINDER, [("text", "a dog"), long])
    assert capsys.readouterr().err.startswith(f"{long[1]}: only a part is taken, the middle 1 s of 4.0 s, from 1.5 s")


def test_of_many_recordings_some_are_looked_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bind.commands.taken_parts.MAX_LOOKED_AT", 2)
    write_sound(tmp_path / "long.wav", 4)
    print_taken_parts(BINDER, [("audio", str(tmp_path / "long.wav"))] * 4)
    assert capsys.readouterr().err.startswith("2 of 2 recordings looked at, of 4, are longer than what is taken")


def test_a_file_that_can_not_be_read_is_left_to_its_reader(tmp_path, capsys):
    (tmp_path / "broken.wav").write_text("no sound")
    print_taken_parts(BINDER, [("audio", str(tmp_path / "broken.wav"))])
    assert capsys.readouterr() == ("", "")


def test_recordings_are_the_files_of_samples():
    sample = Sample("a", "test", {"audio": [Clip(Path("a.wav")), Clip(Path("b.wav"))], "text": ["a dog"]})
    both = [("audio", value) for value in sample.values["audio"]]
    assert recordings_of([sample], [0], ["text", "audio"]) == (both, 2)


def test_of_many_samples_their_number_is_estimated(monkeypatch):
    monkeypatch.setattr("bind.commands.taken_parts.MAX_LOOKED_AT", 2)
    sample = Sample("a", "test", {"audio": [Clip(Path("a.wav"))]})
    values, num = recordings_of([sample] * 5, range(5), ["audio"])
    assert (len(values), num) == (2, 5)
