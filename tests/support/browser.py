"""Chromium without a window, through its own driver: Debian's packages chromium and chromium-driver."""

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


def start(profile: Path, *, more: tuple[str, ...] = ()) -> Any:
    """A browser with a profile of its own that keeps what pages write to the console; skips where there is none."""
    selenium = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, *more, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))


def look(browser: Any, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
    """Open a file at a size and in a scheme of colours, with an empty console."""
    look_at(browser, path.resolve().as_uri(), width=width, height=height, dark=dark)


def look_at(browser: Any, address: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
    """Open an address, as `look` opens a file."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get_log("browser")
    browser.get(address)


def contrast(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """The contrast ratio of two sRGB colours, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: tuple[int, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
