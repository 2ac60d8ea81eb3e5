"""The table of `bindspace search`: copies once, files as they are named from here, ranks one below the other."""

from bind.commands.search import path_from_here, table_of
from bind.search.folding import fold
from bind.search.hits import Hit


def test_a_file_under_several_keys_is_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [str(tmp_path / f"{number // 2}.png") for number in range(20)]
    hits = [Hit(f"k{number}", "image", 0.5, number + 1, path=path) for number, path in enumerate(paths)]
    table = table_of(fold(hits), "a dog", 20)
    assert table.headers == ("", "key", "other\nkeys", "modality", "score", "file")
    rows = table.sections[""]
    assert rows[0] == (" 1", "k0", "+1", "image", "0.500", "0.png")
    assert rows[9] == ("10", "k18", "+1", "image", "0.500", "9.png")
    assert "other keys: how many more have the same file or text" in table.caption


def test_a_file_that_is_the_key_is_not_named_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = table_of(fold([Hit("a/b.wav", "audio", 0.5, 1, path=str(tmp_path / "a" / "b.wav"))]), "a dog", 1)
    assert table.headers == ("", "key", "modality", "score")
    assert "other keys" not in table.caption


def test_files_elsewhere_keep_their_whole_path(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert path_from_here(str(tmp_path / "there.wav")) == str(tmp_path / "there.wav")
    assert path_from_here(str(tmp_path / "here" / "a.wav")) == "a.wav"
