from types import SimpleNamespace

from support.trees import write_sound

from bind.commands.taken_parts import print_taken_parts
from bind.data.transforms.audio import AudioTransform

BINDER = SimpleNamespace(transforms={"audio": AudioTransform(sample_rate_hz=8000, window_seconds=1.0), "text": str})


def test_of_long_files_one_line_says_which_part_is_taken(tmp_path, capsys):
    for name, seconds in (("long", 4), ("longer", 6), ("short", 1)):
        write_sound(tmp_path / f"{name}.wav", seconds)
    long, longer, short = (("audio", str(tmp_path / f"{name}.wav")) for name in ("long", "longer", "short"))
    print_taken_parts(BINDER, [short, ("text", "a dog")])
    assert capsys.readouterr() == ("", "")
    print_taken_parts(BINDER, [short, long, longer])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{long[1]}: only a part is taken, the middle 1 s of 4.0 s, from 1.5 s on, and of 1 more")
    assert line.endswith("from when to when")
