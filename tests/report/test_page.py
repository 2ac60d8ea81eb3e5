"""The page in a browser: it is opened from disk, looked at, pointed at and filtered."""

import json
import math
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support import browser as chromium
from support import pages, runs

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import ToySource

NASTY = '</script><script>document.title = "broken"</script><img src=x onerror=document.title="broken">'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return pages.toy_page(tmp_path_factory.mktemp("toy"))


@contextmanager
def a_quiet_page(browser, path, **size):
    """The page, which may write nothing to the console while it is used."""
    chromium.look(browser, path, **size)
    yield
    assert browser.get_log("browser") == []


def one(browser, selector):
    return browser.find_element("css selector", selector)


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def shown(browser):
    """Key and modality of what the panel shows."""
    return browser.execute_script("const d = document.querySelector('.detail').dataset; return [d.key, d.modality]")


def counted(browser):
    return int(one(browser, "output.count").text.split()[0])


class Points:
    """Where the points lie on the screen before any zoom, computed from the page's data alone."""

    def __init__(self, browser, path, projection=0):
        self.scatter = pages.data_of(path)["scatter"]
        plane = self.scatter["projections"][projection]
        x, y = np.array(plane["x"]), np.array(plane["y"])
        canvas = one(browser, "canvas")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        self.width, self.height = (canvas.get_property(name) for name in ("clientWidth", "clientHeight"))
        unit = 0.46 * min(self.width / np.abs(x).max(), self.height / np.abs(y).max())
        self.places = np.stack([self.width / 2 + unit * x, self.height / 2 - unit * y], axis=1)
        apart = np.linalg.norm(self.places[:, None] - self.places, axis=2) + 1e9 * np.eye(len(x))
        self.loneliest = np.argsort(-apart.min(axis=1))

    def of(self, point):
        """What the panel shows of a point."""
        chosen = self.scatter["points"]
        modality = self.scatter["modalities"][chosen["modality"][point]]["name"]
        return [self.scatter["samples"][chosen["sample"][point]]["key"], modality]

    def first(self, modality):
        """The loneliest point of a modality."""
        return next(p for p in self.loneliest if self.of(p)[1] == modality)


def mouse(browser, kind, place, **more):
    """Send the browser what a mouse sends, at a place of the canvas."""
    canvas = "document.querySelector('canvas').getBoundingClientRect()"
    left, top = browser.execute_script(f"const box = {canvas}; return [box.left + 1, box.top + 1]")
    event = {"type": kind, "x": left + float(place[0]), "y": top + float(place[1]), **more}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def press(browser, place):
    for kind in ("mousePressed", "mouseReleased"):
        mouse(browser, kind, place, button="left", clickCount=1)


def screenshot(browser):
    return np.asarray(Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB"))


def test_pointing_at_a_mark_shows_the_sample_behind_it(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        for modality, inside in (
            ("image", "img"),
            ("audio", "button.sound"),
            ("imu", "svg.trace"),
            ("text", "blockquote"),
        ):
            point = points.first(modality)
            mouse(browser, "mouseMoved", points.places[point])
            assert shown(browser) == points.of(point)
            assert one(browser, f".detail > .media {inside}").is_displayed()
            assert (
                len(browser.find_elements("css selector", ".detail .other > div"))
                == len(points.scatter["modalities"]) - 1
            )


def test_what_was_pointed_at_stays_and_a_click_keeps_it(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        first, other = points.loneliest[:2]
        mouse(browser, "mouseMoved", points.places[first])
        mouse(browser, "mouseMoved", (2, 2))
        assert shown(browser) == points.of(first)
        press(browser, points.places[first])
        mouse(browser, "mouseMoved", points.places[other])
        assert shown(browser) == points.of(first)
        press(browser, (2, 2))
        assert shown(browser) == [None, points.of(first)[1]]
        mouse(browser, "mouseMoved", points.places[other])
        assert shown(browser) == points.of(other)


def test_a_click_on_a_sound_plays_it_and_pointing_does_where_that_is_chosen(browser, toy):
    playing = "return [...document.querySelectorAll('.detail button.sound')].map((b) => b.textContent)"
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        sound = points.first("audio")
        mouse(browser, "mouseMoved", points.places[sound])
        assert browser.execute_script(playing) == ["▶ play"]
        press(browser, points.places[sound])
        assert browser.execute_script(playing) == ["■ stop"]
        wait_until(browser, playing, ["▶ play"])  # a second later it has ended
        press(browser, (2, 2))
        click(browser, "input.hover-sound")
        mouse(browser, "mouseMoved", points.places[points.first("image")])
        assert browser.execute_script(playing) == ["▶ play"]
        mouse(browser, "mouseMoved", points.places[sound])
        assert browser.execute_script(playing) == ["■ stop"]


def wait_until(browser, script, expected):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(script) == expected)


def test_filters_by_modality_label_and_words(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        chosen, samples = points.scatter["points"], points.scatter["samples"]
        assert counted(browser) == len(chosen["sample"]) == 40 * len(points.scatter["modalities"])
        imu = points.first("imu")
        mouse(browser, "mouseMoved", points.places[imu])
        assert shown(browser) == points.of(imu)
        click(browser, "[data-filter=modality] input[value=imu]")
        assert counted(browser) == 40 * (len(points.scatter["modalities"]) - 1)
        assert shown(browser)[0] is None
        mouse(browser, "mouseMoved", points.places[imu] + 1)
        assert shown(browser) != points.of(imu)
        click(browser, "[data-filter=modality] input[value=imu]")

        click(browser, "[data-filter=label] input[value=spinning]")
        assert counted(browser) == sum(samples[s]["label"] != "spinning" for s in chosen["sample"])
        click(browser, "[data-filter=label] input[value=spinning]")

        one(browser, "input[type=search]").send_keys("RED small")
        red = [s for s in samples if {"red", "small"} <= set(s["group"].split())]
        assert 0 < len(red) < 40
        assert counted(browser) == len(red) * len(points.scatter["modalities"])


def test_colours_by_modality_or_by_label(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        before = screenshot(browser)
        click(browser, "input[name=colour][value=label]")
        marked = "return [...document.querySelectorAll('fieldset.key:has(svg)')].map((f) => f.dataset.filter)"
        assert browser.execute_script(marked) == ["label"]
        assert (screenshot(browser) != before).any(axis=2).sum() > 500
        click(browser, "input[name=colour][value=modality]")
        assert browser.execute_script(marked) == ["modality"]
        assert (screenshot(browser) != before).any(axis=2).sum() < 0.01 * points.width * points.height


def test_zoom_and_moving_take_the_points_along(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        point = points.loneliest[0]
        centre = np.array([points.width, points.height]) / 2
        click(browser, ".zoom button")
        zoomed = centre + 1.5 * (points.places[point] - centre)
        drag = centre - zoomed  # to where the middle was
        mouse(browser, "mousePressed", centre, button="left", clickCount=1)
        mouse(browser, "mouseMoved", centre + drag / 2, button="left", buttons=1)
        mouse(browser, "mouseMoved", centre + drag, button="left", buttons=1)
        mouse(browser, "mouseReleased", centre + drag, button="left", clickCount=1)
        mouse(browser, "mouseMoved", centre)
        assert shown(browser) == points.of(point)
        click(browser, ".zoom button[aria-label='show all']")
        mouse(browser, "mouseMoved", points.places[points.loneliest[1]])
        assert shown(browser) == points.of(points.loneliest[1])


def test_the_wheel_zooms_about_the_pointer_only_once_the_plot_is_chosen(browser, toy):
    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        point = points.first("text")
        other = max(range(len(points.places)), key=lambda p: math.dist(points.places[p], points.places[point]))
        turn = {"deltaX": 0, "deltaY": -600}
        scrolled = browser.execute_script("return scrollY")
        browser.execute_script("document.querySelector('canvas').focus({preventScroll: true})")
        mouse(browser, "mouseWheel", points.places[point], **turn)
        mouse(browser, "mouseMoved", points.places[other])
        assert shown(browser) != points.of(other)
        mouse(browser, "mouseMoved", points.places[point])
        assert shown(browser) == points.of(point)
        assert browser.execute_script("return scrollY") == scrolled
        browser.execute_script("document.activeElement.blur()")
        mouse(browser, "mouseWheel", points.places[point], **turn)
        wait_until(browser, f"return scrollY < {scrolled}", True)


def test_keys_reach_points_and_zoom(browser, toy):
    from selenium.webdriver.common.keys import Keys

    with a_quiet_page(browser, toy):
        points = Points(browser, toy)
        canvas = one(browser, "canvas")
        seen = []
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_LEFT):
            canvas.send_keys(key)
            seen.append(shown(browser))
        indices = [next(p for p in points.loneliest if points.of(p) == each) for each in seen]
        x, y = points.places[indices].T
        assert x[1] > x[0]
        assert y[2] < y[1]
        assert x[3] < x[2]
        canvas.send_keys("+", "0", Keys.ENTER)
        assert shown(browser) == seen[-1]
        canvas.send_keys(Keys.ESCAPE)
        assert shown(browser)[0] is None


def test_a_finger_chooses_on_a_phone_and_nothing_is_wider_than_it(browser, toy):
    with a_quiet_page(browser, toy, width=360, height=740):
        points = Points(browser, toy)
        point = points.first("audio")
        left, top = browser.execute_script(
            "const box = document.querySelector('canvas').getBoundingClientRect(); return [box.left + 1, box.top + 1]"
        )
        at = {"x": left + points.places[point][0], "y": top + points.places[point][1]}
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert shown(browser) == points.of(point)
        wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide == [360, 360]
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


WIDER_THAN_THEIR_PLACE = """
  return [...document.querySelectorAll("body *")]
    .filter((e) => getComputedStyle(e).display !== "inline" && e.clientWidth && e.scrollWidth > e.clientWidth + 1)
    .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} > ${e.clientWidth}`)"""


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_scrolls_sideways_on_a_phone(browser, tmp_path, recordings, dark):
    wide = tmp_path / "wide.png"
    Image.new("RGB", (2000, 300), "white").save(wide)
    rows = pages.nasty_manifest(recordings, tmp_path, "a_name_without_any_place_to_break_it_" * 3)
    page = pages.write_page(
        tmp_path,
        ManifestSource(rows),
        20,
        config="run_dir: " + "a/very/long/path" * 20,
        words=["the sound of a dog", "the_sound_of_" * 9],
        pngs={"R@1 between modalities": wide, "Training": wide},
        with_data=True,
    )
    with a_quiet_page(browser, page, width=390, height=844, dark=dark):
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert browser.execute_script("return document.scrollingElement.scrollWidth") <= 390
        assert browser.execute_script(WIDER_THAN_THEIR_PLACE) == []
        shown_names = "return getComputedStyle(document.querySelector('td:nth-child(2)'), '::before').content"
        assert "samples" in browser.execute_script(shown_names), "a card names what stands in it"


def test_a_sound_has_the_words_of_its_classes(browser, tmp_path):
    words = ["the sound of a dog", "the sound of rain", "the sound of a bell"]
    page = pages.write_page(tmp_path, ToySource(num_test_queries=1), 0, pairs=(), words=words)
    with a_quiet_page(browser, page):
        assert one(browser, "#galleries h3").text == "audio → words"
        assert [quote.text for quote in browser.find_elements("css selector", "#galleries blockquote")] == words
        assert one(browser, "#galleries .right blockquote").text == words[1]
        assert one(browser, "#galleries .asked > .cell button.sound").is_displayed()


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out_in_both_schemes(browser, toy, dark):
    script = """
      const style = getComputedStyle(document.documentElement);
      const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
      return arguments[0].map((name) => {
        pen.fillStyle = style.getPropertyValue("--" + name).trim();
        pen.fillRect(0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
      });"""
    with a_quiet_page(browser, toy, dark=dark):
        texts, marks = ["ink", "faint", "link", "right", "wrong"], [f"c{i}" for i in range(7)]
        paper, *others = map(tuple, browser.execute_script(script, ["paper", *texts, *marks]))
        assert (sum(paper) < 128) == dark
        for name, colour in zip(texts + marks, others, strict=True):
            # Text needs 4.5; marks are told apart by shape as well, so the palette's light colours may stay.
            assert chromium.contrast(paper, colour) > (4.5 if name in texts else 2.0), name
        corner = screenshot(browser)[5, 5]
        assert tuple(corner) == paper


def test_tables_sort_by_number_and_back(browser, toy):
    script = "return [...document.querySelectorAll('tbody tr:not(.section)')].map((row) => row.cells[0].textContent)"
    with a_quiet_page(browser, toy):
        columns = browser.execute_script("return [...document.querySelectorAll('thead th')].map((h) => h.textContent)")
        heads = browser.find_elements("css selector", "thead th button")
        given = browser.execute_script(script)
        assert [name.split(" ")[-1] for name in given] == ["image", "text", "imu"]
        head = heads[columns.index("median\nrank")]
        head.click()
        assert [given.index(name) for name in browser.execute_script(script)] == [1, 0, 2]  # 11, 2, 1
        head.click()
        assert [given.index(name) for name in browser.execute_script(script)] == [2, 0, 1]
        assert one(browser, "th[aria-sort]").get_attribute("aria-sort") == "ascending"
        heads[0].click()
        assert browser.execute_script(script) == sorted(given)


def test_labels_stand_in_the_order_of_their_classes(browser, tmp_path):
    labels = ["spinning", "a class without samples", "resting", "bouncing"]
    page = pages.write_page(tmp_path, ToySource(num_test_queries=1), 40, pairs=(), labels=labels)
    shown_labels = "return [...document.querySelectorAll('[data-filter=label] input')].map((i) => i.value)"
    with a_quiet_page(browser, page):
        assert browser.execute_script(shown_labels) == ["spinning", "resting", "bouncing", "sliding"]


def test_a_note_stands_above_its_gallery_and_what_is_gone_in_its_place(browser, tmp_path, recordings):
    rows = runs.read_manifest(recordings)
    for row in rows:
        row.update({m: str(recordings.parent / row[m]) for m in ("audio", "imu") if m in row})
        if "image" in row:
            picture = tmp_path / row["image"]
            picture.write_bytes((recordings.parent / row["image"]).read_bytes())
            row["image"] = str(picture)
    source = ManifestSource(runs.write_manifest(tmp_path / "gone.jsonl", rows))
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    notes = {("audio", "image"): "A sound has no <colour>."}
    page = pages.write_page(tmp_path, source, 0, pairs=[("audio", "image")], notes=notes)
    with a_quiet_page(browser, page):
        assert one(browser, "#galleries h3 + p.note").text == "A sound has no <colour>."
        gone = browser.find_elements("css selector", "#galleries .missing")
        assert len(gone) == 6
        assert "can't be shown: " in gone[0].text
        assert one(browser, "#galleries button.sound").is_displayed()
        assert "pictures, sounds and traces can't be shown" in one(browser, "body").text


def test_galleries_mark_what_is_right(browser, toy):
    with a_quiet_page(browser, toy):
        titles = browser.execute_script(
            "return [...document.querySelectorAll('#galleries h3')].map((h) => h.textContent)"
        )
        assert titles == ["audio → image", "imu → text"]
        rows = browser.find_elements("css selector", "#galleries .asked")
        assert len(rows) == 4
        assert [len(rows[0].find_elements("css selector", s)) for s in (".right img", ".wrong img")] == [1, 2]
        assert len(rows[2].find_elements("css selector", "svg.trace")) == 2
        assert len(rows[2].find_elements("css selector", "blockquote")) == 3


def test_names_and_captions_of_others_stay_text(browser, tmp_path, recordings):
    rows = pages.nasty_manifest(recordings, tmp_path, NASTY)
    page = pages.write_page(tmp_path, ManifestSource(rows), 300, config=f"name: {NASTY}")
    with a_quiet_page(browser, page, width=360, height=740):
        assert "broken" not in browser.title
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        assert browser.execute_script("return document.scripts.length") == 2
        one(browser, "canvas").send_keys("\ue014")
        assert NASTY in one(browser, ".detail").get_attribute("textContent")
        labels = browser.execute_script(
            "return [...document.querySelectorAll('[data-filter=label] input')].map((i) => i.value)"
        )
        assert any(NASTY in label for label in labels)
        assert json.dumps(NASTY)[1:-1] not in page.read_text()


def test_a_split_without_labels_or_sounds_has_no_switch_for_them(browser, tmp_path, recordings):
    rows = [
        {k: row[k] for k in ("key", "split", "image", "text") if k in row} for row in runs.read_manifest(recordings)
    ]
    for row in rows:
        if "image" in row:
            row["image"] = str(recordings.parent / row["image"])
    source = ManifestSource(runs.write_manifest(tmp_path / "few.jsonl", rows))
    page = pages.write_page(tmp_path, source, 300, pairs=())
    with a_quiet_page(browser, page):
        assert not browser.find_elements("css selector", "input[name=colour], input.hover-sound, [data-filter=label]")
        assert not browser.find_elements("css selector", "#galleries")
