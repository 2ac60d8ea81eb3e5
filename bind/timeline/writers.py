"""Writers of segments: a table, tiers for ELAN, labels for Audacity."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from bind.files.writing import write_bytes, write_text
from bind.timeline.segments import Segment

COLUMNS = ("recording", "start_seconds", "end_seconds", "label", "confidence")
TIER = "bind"
"""The name of ELAN's tier."""
ELAN_FORMAT = "3.0"
XML_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"


def write_csv(path: Path, segments: Sequence[Segment], recording: Path) -> None:
    """Write a row per segment, in the columns of `data.annotations` and with the confidence.

    The recording is the file's name without its ending.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in segments:
        row = [recording.stem, f"{s.start_seconds:.3f}", f"{s.end_seconds:.3f}", s.label, f"{s.confidence:.4f}"]
        writer.writerow(row)
    write_text(path, text.getvalue())


def write_audacity(path: Path, segments: Sequence[Segment], recording: Path) -> None:
    """Write labels as Audacity imports them: start, end and label with tabs between them, one a line.

    Source: Audacity's manual, "Importing and exporting labels".
    """
    del recording  # Audacity's labels name no file
    lines = [f"{s.start_seconds:.6f}\t{s.end_seconds:.6f}\t{' '.join(s.label.split())}\n" for s in segments]
    write_text(path, "".join(lines))


def write_elan(path: Path, segments: Sequence[Segment], recording: Path) -> None:
    """Write an ELAN file with one tier of segments; the recording is linked as its media where it is a file.

    Source: the ELAN annotation format, https://www.mpi.nl/tools/elan/EAFv3.0.xsd.
    """
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {"AUTHOR": "bind", "DATE": now, "FORMAT": ELAN_FORMAT, "VERSION": ELAN_FORMAT},
    )
    root.set(f"{{{XML_SCHEMA}}}noNamespaceSchemaLocation", "http://www.mpi.nl/tools/elan/EAFv3.0.xsd")
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    ElementTree.SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"}).text = str(len(segments))
    order = ElementTree.SubElement(root, "TIME_ORDER")
    moments = sorted({round(1000 * t) for s in segments for t in (s.start_seconds, s.end_seconds)})
    slots = {moment: f"ts{number}" for number, moment in enumerate(moments, start=1)}
    for moment, slot in slots.items():
        ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(moment)})
    tier = ElementTree.SubElement(root, "TIER", {"TIER_ID": TIER, "LINGUISTIC_TYPE_REF": "default-lt"})
    for number, s in enumerate(segments, start=1):
        refs = {
            f"TIME_SLOT_REF{i}": slots[round(1000 * t)] for i, t in enumerate((s.start_seconds, s.end_seconds), start=1)
        }
        annotation = ElementTree.SubElement(tier, "ANNOTATION")
        aligned = ElementTree.SubElement(annotation, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number}", **refs})
        ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = s.label
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    if recording.is_file():
        media = {"MEDIA_URL": recording.resolve().as_uri(), "MIME_TYPE": "unknown"}
        header.insert(0, ElementTree.Element("MEDIA_DESCRIPTOR", media))
    ElementTree.indent(root)
    ElementTree.register_namespace("xsi", XML_SCHEMA)
    write_bytes(path, ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n")


WRITERS: dict[str, Callable[[Path, Sequence[Segment], Path], None]] = {
    ".csv": write_csv,
    ".eaf": write_elan,
    ".txt": write_audacity,
}
"""Ending of a file → what writes it."""
