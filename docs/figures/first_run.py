"""The output of the first run on the pages: `python train.py | tee LOG && python docs/figures/first_run.py LOG`.

The whole output goes to docs/first_run.md, ten lines of it to the README, and the seconds that it took to both.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "first_run.md")
NUM_LINES = 10
ROWS = ("audio → image", "audio → text", "imu → image", "imu → text", "imu → audio")
"""Rows of the retrieval table that the README shows as far as there is room."""


def ten_lines(output: str) -> list[str]:
    """How validation begins and ends, the outcome in sentences where there are any, and rows of the retrieval table."""
    lines = output.splitlines()
    progress = [line for line in lines if line.startswith("step ") and "val/" in line]
    start = next(n for n, line in enumerate(lines) if line.startswith("Retrieval, "))
    rule = next(n for n, line in enumerate(lines) if n > start and set(line.strip()) == {"─"})
    sentences = [line for line in lines[:rule] if re.search(r" tries[,;.]", line)]
    table = lines[rule - 2 : rule + 1]
    rows = [line for name in ROWS for line in lines[rule:] if line.startswith(f" {name} ")]
    chosen = [*progress[:1], *progress[-1:], *sentences, *table]
    return chosen + rows[: NUM_LINES - len(chosen)]


def cleaned(output: str) -> str:
    """The output without trailing spaces, and with no folder of the machine it ran on."""
    output = re.sub(r"^run directory: .*$", "run directory: runs/…", output, flags=re.MULTILINE)
    output = re.sub(r"^page: .*$", "page: runs/…/report.html", output, flags=re.MULTILINE)
    output = output.replace(str(Path.home()), "~")
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines())


def with_output(page: str, output: str, seconds: float) -> str:
    """The page with another first text block, and other seconds in the sentence before it."""
    page = re.sub(r"```text\n.*?```", lambda _: f"```text\n{output}\n```", page, count=1, flags=re.DOTALL)
    return re.sub(r"on 2 CPU cores in \d+ s", f"on 2 CPU cores in {seconds:.0f} s", page, count=1)


def main(log: Path) -> None:
    output = log.read_text()
    (run_directory,) = re.findall(r"^run directory: (.*)$", output, flags=re.MULTILINE)
    seconds = json.loads((Path(run_directory) / "metrics.json").read_text())["seconds"]["total"]
    output = cleaned(output)
    for page, shown in zip(PAGES, ("\n".join(ten_lines(output)), output), strict=True):
        page.write_text(with_output(page.read_text(), shown, seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
