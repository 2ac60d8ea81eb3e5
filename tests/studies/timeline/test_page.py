"""The page of a time line in a browser: looked at, zoomed, and played."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.ticker import FuncFormatter
from support import browser as chromium
from support import runs

from bind.studies.timeline import picture, times
from bind.studies.timeline.page import write_page
from bind.studies.timeline.picture import plot_timeline
from bind.timeline.segments import NONE, Segment
from bind.timeline.timeline import Timeline
from bind.timeline.trace import Trace
from bind.timeline.windows import Break

NASTY = '</script><script>document.title = "broken"</script><img src=x onerror=document.title="broken">'
SEGMENTS = [Segment(0, 0.4, NASTY, 0.9), Segment(0.4, 0.7, NONE, 0.3), Segment(0.8, 1.2, "sitting", 1.0)]


def line():
    trace = Trace(0.0, 120, 100.0, ["acc_x", "acc_y", "gyro_x"], ["g", "g", "rad/s"])
    trace.add(0, np.sin(np.arange(360) / 9).reshape(120, 3)[:70])
    return Timeline(SEGMENTS, [Break(0.7, 0.8, "no samples")], 0.0, 1.2, trace)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs.write_sound(folder / "day.wav", 200.0, np.random.default_rng(0))
    write_page(folder / "day.html", line(), title="day.npy", facts=["3 segments"], player=folder / "day.wav")
    return folder / "day.html"


@pytest.mark.browser
def test_the_page_is_looked_at_and_played(page, tmp_path):
    browser = chromium.start(tmp_path)
    try:
        chromium.look(browser, page)
        assert browser.title == "day.npy · bind time line"
        browser.execute_script("document.querySelectorAll('td button')[2].click()")
        assert "sitting (1.00), 0:00.8 to 0:01.2" in browser.find_element("id", "here").text
        assert browser.execute_script("return document.querySelector('tr.now').rowIndex") == 3
        assert browser.execute_script("return describe(0.75)") == "0:00.8: no samples"
        browser.execute_script("zoom(0.5, 0.6)")
        assert browser.execute_script("return [from, to]") == pytest.approx([0.3, 0.9])
        seconds = browser.execute_async_script(
            "const done = arguments[0]; player.addEventListener('seeked', () => done([player.currentTime, cursor]));"
            "player.currentTime = 0.4"
        )
        assert seconds == pytest.approx([0.4, 0.4])
        fits = (
            "const pen = canvas.getContext('2d'); return [200, 20, 1].map((room) => nameThatFits(pen, 'sitting', room))"
        )
        assert browser.execute_script(fits) == ["sitting", "2", ""]
        legend = [each.text for each in browser.find_elements("css selector", "#legend li")]
        assert [line for line in legend if "sitting" in line] == ["2 sitting 0.4 s"]
        canvas = browser.execute_script("return document.getElementById('trace').toDataURL()")
        assert len(canvas) > 2000
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


def test_labels_and_names_are_escaped(page):
    text = page.read_text()
    assert "<img src=x" not in text
    assert text.count("<script>") == 1


@pytest.mark.slow
def test_the_picture_is_drawn(tmp_path):
    assert plot_timeline(line(), "day.npy", tmp_path / "day.png").stat().st_size > 10_000


def test_the_page_names_the_times_and_draws_the_rest_of_a_segment_as_the_picture_does():
    script = (Path(times.__file__).parent / "page" / "timeline.js").read_text()
    assert f"const TICKS = {json.dumps(times.TICK_SECONDS)};" in script
    assert f"FAINT_SHARE = {picture.FAINT_SHARE}," in script


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "names"), [(360.0, ["0:00", "0:30", "1:00"]), (2.4, ["0:00.0", "0:00.2"])])
def test_times_are_named_where_clocks_name_them(tmp_path, monkeypatch, seconds, names):
    named = []
    monkeypatch.setattr(picture, "FuncFormatter", lambda of: FuncFormatter(lambda x, at: named.append(of(x, at)) or ""))
    plot_timeline(Timeline([Segment(0, seconds, "sitting")], [], 0.0, seconds, None), "day", tmp_path / "day.png")
    assert set(names) <= set(named)
