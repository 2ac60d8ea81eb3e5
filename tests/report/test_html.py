import base64
import re
from html.parser import HTMLParser
from io import BytesIO

from PIL import Image

from bind.report.html import write_report

METRICS = {
    "split": "test",
    "anchor": {"name": "<toy>", "fingerprint": "0123456789abcdef"},
    "retrieval": {
        "audio_to_<i>": {
            "R@1": 0.5, "R@5": 0.75, "R@10": 0.875, "median_rank": 1.5, "mrr": 0.6, "map": 0.55, "queries": 20,
            "pool": 10, "chance_R@1": 0.1, "ci95_R@1": [0.4, 0.6], "trained": True, "ceiling_R@1": 0.9,
        }
    },
    "zero_shot": {"imu": {"top1": 0.9, "num_classes": 6, "chance": 1 / 6, "queries": 60}},
    "seconds": {"train": 12.34},
}  # fmt: skip
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.sources = [], [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def report(tmp_path, config="modalities: [audio]\n"):
    png = tmp_path / "curves.png"
    Image.new("RGB", (3, 2), "red").save(png)
    path = write_report(
        tmp_path, METRICS, {"Loss & scale <curves>": png}, config, "python train.py x='<y>'", {"torch": "2.14.1"}
    )
    assert path == tmp_path / "report.html"
    return path.read_text(encoding="utf-8")


def test_holds_tables_figures_config_command_and_versions(tmp_path):
    page = Page(report(tmp_path))
    expected = ["Retrieval, test split", "Zero-shot", "0.500", "0.40–0.60", "0.50", "python train.py x='<y>'"]
    for text in [*expected, "modalities: [audio]", "torch 2.14.1", "train: 12.3 s", "<toy> (0123456789ab)"]:
        assert text in page.text
    assert page.tags.count("table") == 2


def test_needs_nothing_beside_it(tmp_path):
    page = Page(report(tmp_path))
    assert len(page.sources) == 1
    kind, data = page.sources[0].split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(BytesIO(base64.b64decode(data))).size == (3, 2)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_escapes_whatever_a_config_or_a_name_holds(tmp_path):
    page = Page(report(tmp_path, config="name: </pre><script>alert(1)</script><img src=x onerror=alert(1)>"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert "</pre><script>alert(1)</script>" in page.text
    assert "audio → <i>" in page.text


def test_serves_dark_rooms_and_phones(tmp_path):
    text = report(tmp_path)
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"img \{[^}]*max-width: 100%", text)
    assert text.count('<div class="scroll"><table>') == 2


def test_a_run_without_zero_shot_or_figures(tmp_path):
    path = write_report(tmp_path, {"retrieval": METRICS["retrieval"]}, {}, "", "", {})
    page = Page(path.read_text(encoding="utf-8"))
    assert page.tags.count("table") == 1
    assert "img" not in page.tags
