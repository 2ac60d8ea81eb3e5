"""The outputs of the quickstart notebook: `python docs/figures/notebook.py` executes it and writes it back.

Warnings and empty outputs are left out, and no folder of the machine it ran on is kept.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def cleaned(outputs: list[Any]) -> list[Any]:
    """What a cell printed as one text without trailing spaces, then what it returned."""
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs if is_shown(output)
    ]
    if not texts:
        return []
    lines = [line.rstrip() for line in "\n".join(texts).splitlines()]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip("\n"))
    text = re.sub(r"(run directory: ).*?(runs/)\S*", r"\1\2…", text)
    return [nbformat.v4.new_output("stream", name="stdout", text=text + "\n")]


def is_shown(output: Any) -> bool:
    is_error_stream = output.get("name") == "stderr"
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return not is_error_stream and bool(text.strip()) and "Warning" not in text


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = cleaned(cell.outputs)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
