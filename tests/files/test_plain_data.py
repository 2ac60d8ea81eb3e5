"""JSON and YAML of anybody are plain data, or one message that names the file."""

import json
import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bind.files.plain_data import MAX_DEPTH, parse_json, read_json, require_kinds, require_plain_yaml
from bind.files.reading import read_bytes, require_regular_file
from bind.runs.figures import robustness_figures
from bind.runs.run_config import open_run


def nested(depth):
    return "[" * depth + "]" * depth


def test_depth_has_an_end():
    assert parse_json(nested(MAX_DEPTH), "x")
    for depth in (MAX_DEPTH + 1, 10_000, 1_000_000):
        with pytest.raises(ValueError, match=r"^x: no readable JSON \(more than 64 levels"):
            parse_json(nested(depth), "x")


@pytest.mark.slow
@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_json_or_one_message(content):
    try:
        parse_json(content, "x.json")
    except ValueError as error:
        message = str(error)
    else:
        message = "x.json: "
    assert message.startswith("x.json: ")


@pytest.fixture
def odd_places(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # the names of sockets are short
        listening.bind("socket")
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pipe", "a named pipe"),
        ("folder", "a folder"),
        ("socket", "a socket"),
        ("/dev/zero", "a device"),
        ("gone", "no such file"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(odd_places, name, kind):
    for read in (require_regular_file, read_json, require_plain_yaml):
        with pytest.raises(ValueError, match=f"{name}.*{kind}"):
            read(odd_places / name)


def test_size_has_an_end(tmp_path):
    (tmp_path / "a.json").write_bytes(b"1" * 11)
    assert read_bytes(tmp_path / "a.json", max_bytes=11) == b"1" * 11
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_json(tmp_path / "a.json", max_bytes=10)


@pytest.mark.parametrize("value", [None, 1, [], "x", {}, {"a": None}, {"a": "1"}, {"a": True}, {"a": 1, "b": 2}])
def test_other_kinds_are_refused(value):
    with pytest.raises(ValueError, match=r"^x\.json: "):
        require_kinds(value, {"a": int}, "x.json", optional={"b": str})


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        "a: !!python/object/apply:os.system [ls]",
        "a: !own 1",
        "a: [",
        "[" * 1000,
        "\x00",
        "a: 1\n---\nb: 2\n",
        "version: 3",
        "- 1",
        "text",
        "",
        "version: 3\nmodalities: audio\n",
        "version: null",
        "version: [3]",
        "a: ${b",
    ],
)
def test_what_is_no_config_of_a_run_is_one_message(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        open_run(str(tmp_path))


def test_what_omegaconf_writes_is_plain(tmp_path):
    shared = [1, 2]
    config = {"a": shared, "b": shared, "c": {"d": 1e-3, "e": None, "f": "yes", "g": "& * !", "h": "a: b"}}
    path = tmp_path / "config.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    require_plain_yaml(path)


json_texts = st.text(alphabet="{}[]:,\"'&*!|>-#\n ab01~?%@`$", max_size=40)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=json_texts)
def test_any_text_is_one_message(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        open_run(str(folder))


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "a/b.png", 3, None])
def test_a_report_shows_no_file_from_elsewhere(tmp_path, name):
    (tmp_path / "robustness.json").write_text(json.dumps({"figures": {"a": name}}))
    with pytest.raises(ValueError, match=r"robustness\.json"):
        robustness_figures(tmp_path)
