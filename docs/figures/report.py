"""The README's picture of a report: `python docs/figures/report.py RUN_DIRECTORY` writes report.png beside itself.

Two parts of the run's report.html, as a browser shows them: the plane of the embeddings with one sound opened, and the
first two queries of the gallery. It needs Chromium with its driver (Debian: chromium, chromium-driver), selenium
and Pillow.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

OUT = Path(__file__).parent / "report.png"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
WIDTH, HEIGHT = 1120, 1000
NUM_QUERIES = 2
NUM_COLOURS = 256  # of the picture's palette
MAX_STEPS = 200  # of the arrow keys until they reach a sound


@contextmanager
def open_browser() -> Iterator[Any]:
    """A browser without a window and with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
        for option in (*OPTIONS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(option)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield browser
        finally:
            browser.quit()


def picture_of(element: Any) -> Image.Image:
    return Image.open(BytesIO(element.screenshot_as_png)).convert("RGB")


def open_a_sound(browser: Any) -> None:
    """Walk over the marks with the arrow keys until one is a sound."""
    canvas = browser.find_element("css selector", "canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", canvas)
    for _ in range(MAX_STEPS):
        canvas.send_keys(Keys.ARROW_RIGHT)
        if browser.execute_script("return document.querySelector('.detail').dataset.modality") == "audio":
            return
    raise ValueError("the plane of this report has no sound: pass a run with audio and evaluation.num_scatter_samples")


def main(run_directory: Path) -> None:
    with open_browser() as browser:
        browser.get((run_directory / "report.html").resolve().as_uri())
        open_a_sound(browser)
        parts = [picture_of(browser.find_element("css selector", ".explorer"))]
        results = browser.find_elements("css selector", "ol[aria-label='results, best first']")
        parts += [picture_of(result.find_element("xpath", "..")) for result in results[:NUM_QUERIES]]
    gap = 16
    page = Image.new("RGB", (WIDTH, sum(part.height + gap for part in parts) + gap), "white")
    y = gap
    for part in parts:
        page.paste(part, ((WIDTH - part.width) // 2, y))
        y += part.height + gap
    page.quantize(NUM_COLOURS).save(OUT, optimize=True)
    print(f"{OUT}: {page.width} × {page.height}, {OUT.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
