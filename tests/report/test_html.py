import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from io import BytesIO

from PIL import Image

from bind.report.cells import Cells
from bind.report.html import write_report
from bind.report.plots import TRAINING

METRICS = {
    "split": "test",
    "anchor": {"name": "<toy>", "fingerprint": "0123456789abcdef"},
    "retrieval": {
        ("audio", "<i>"): {
            "R@1": 0.5, "R@5": 0.75, "R@10": 0.875, "median_rank": 1.5, "mrr": 0.6, "map": 0.55, "queries": 20,
            "pool": 10, "chance_R@1": 0.1, "ci95_R@1": [0.4, 0.6], "kind": "trained", "ceiling_R@1": 0.9,
        }
    },
    "zero_shot": {"imu": {"top1": 0.9, "num_classes": 6, "chance": 1 / 6, "queries": 60}},
    "seconds": {"train": 12.34},
}  # fmt: skip
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.sources, self.policy = [], [], "", [], ""
        self.scripts, self.styles = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            (self.scripts if self.open[-1] == "script" else self.styles).append(data)
        else:
            self.text += data


NOTHING = {"scatter": None, "galleries": [], "media": []}


DATA = Cells("Data", "", ("split, modality", "samples"), {"train": [("all", "9"), ("<b>", "8")]})


def report(tmp_path, config="modalities: [audio]\n", media=NOTHING, **more):
    png = tmp_path / "curves.png"
    Image.new("RGB", (3, 2), "red").save(png)
    path = tmp_path / "report.html"
    pngs, command = {"Loss & scale <curves>": png}, "python train.py x='<y>'"
    made_with = {"config_yaml": config, "seed": 7, "command": command, "versions": {"torch": "2.14.1"}}
    write_report(path, METRICS, pngs, media, **made_with, **more)
    return path.read_text(encoding="utf-8")


def test_holds_tables_figures_config_command_and_versions(tmp_path):
    page = Page(report(tmp_path))
    expected = ["Retrieval, test split", "Zero-shot", "0.500", "0.40–0.60", "0.50", "python train.py x='<y>'"]
    for text in [*expected, "modalities: [audio]", "torch 2.14.1", "train: 12.3 s", "seed: 7", "<toy> (0123456789ab)"]:
        assert text in page.text
    assert page.tags.count("table") == 2


def test_opens_with_what_came_out_then_data_gallery_and_tables(tmp_path):
    page = Page(report(tmp_path, data=DATA, media=NOTHING | {"galleries": [{"rows": []}]}, title="Kitchen <sounds>"))
    places = [
        page.text.index(text)
        for text in (
            "Kitchen <sounds>",
            "A sound finds its <i> in 10 of 20 tries, by chance 2",
            f"run directory: {tmp_path.name}",
            "split, modality",
            "Each query with its nearest",
            "Retrieval, test split",
            "Loss & scale <curves>",
            "Command",
        )
    ]
    assert places == sorted(places)
    assert "Kitchen <sounds> · bind report" in page.text
    assert Page(report(tmp_path)).text.split("finds its")[0].count(tmp_path.name) == 2, "as title and heading"


def test_technical_curves_are_folded(tmp_path):
    png = tmp_path / "x.png"
    Image.new("RGB", (3, 2), "red").save(png)
    path = tmp_path / "report.html"
    write_report(path, METRICS, {"R@1 between modalities": png, TRAINING: png, "Classes": png}, NOTHING)
    text = path.read_text()
    assert f"<details><summary>{TRAINING}</summary>" in text
    assert text.count("<figcaption>") == 2


def test_needs_nothing_beside_it(tmp_path):
    page = Page(report(tmp_path))
    [picture, *links] = sorted(page.sources, reverse=True)
    assert all(link.startswith("#") for link in links)
    kind, data = picture.split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(BytesIO(base64.b64decode(data))).size == (3, 2)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)


def test_lets_nothing_run_or_load_but_its_own_script(tmp_path):
    page = Page(report(tmp_path))
    data, script = page.scripts
    assert json.loads(data) == NOTHING
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == rules["media-src"] == "data:"
    for name, content in (("script-src", script), ("style-src", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert not re.search(r"<[^>]* (on\w+|style)=", report(tmp_path).split("<script")[0])


def test_escapes_whatever_a_config_or_a_name_holds(tmp_path):
    page = Page(report(tmp_path, config="name: </pre><script>alert(1)</script><img src=x onerror=alert(1)>"))
    assert page.tags.count("script") == 2
    assert page.tags.count("img") == 1
    assert "</pre><script>alert(1)</script>" in page.text
    assert "audio → <i>" in page.text


def test_data_can_not_end_its_element(tmp_path):
    nasty = "</script><script>alert(1)</script><!-- <script> ]]> \u2028 & &lt; \\u003c"
    page = Page(report(tmp_path, media=NOTHING | {"media": [{"kind": "text", "text": nasty}]}))
    assert page.tags.count("script") == 2
    assert json.loads(page.scripts[0])["media"][0]["text"] == nasty


def test_says_how_much_can_not_be_shown(tmp_path):
    items = [{"kind": "missing", "text": "can't be shown: gone.wav"}, {"kind": "text", "text": "a dog"}]
    assert (
        "1 of 2 pictures, sounds and traces can't be shown"
        in Page(report(tmp_path, media=NOTHING | {"media": items})).text
    )
    assert "can't be shown" not in Page(report(tmp_path)).text


def test_serves_dark_rooms_and_phones(tmp_path):
    text = report(tmp_path)
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"img.chart \{[^}]*max-width: 100%", text)
    assert text.count('<div class="scroll"><table>') == 2


def test_a_run_without_zero_shot_or_figures(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, {"retrieval": METRICS["retrieval"]}, {}, NOTHING)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.tags.count("table") == 1
    assert "img" not in page.tags
