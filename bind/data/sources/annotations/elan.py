"""Reader of ELAN's files (.eaf): tiers of annotations, aligned in time, between others, or of others.

Source: the ELAN annotation format, https://www.mpi.nl/tools/elan/EAFv3.0.xsd.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from bind.files.reading import read_bytes
from bind.media.text import read_caption
from bind.types import Annotation

logger = logging.getLogger("bind.data")

MAX_BYTES = 2**28
"""Of an export of one recording's annotations."""
Spans = dict[str, tuple[float, float]]
"""Id of an annotation → its start and end in milliseconds."""


def read_elan(path: Path) -> Iterator[tuple[str, Annotation]]:
    """Place and annotation of everything in an ELAN file; the recording's key is the file's name, tiers are kinds.

    What has no time but lies between annotations that have, or belongs to one, gets an even share of theirs.

    Raises:
        ValueError: naming the file, where it is no XML, declares entities, or refers to times that are not in it.
    """
    root = _parse(path)
    try:
        for media in root.iter("MEDIA_DESCRIPTOR"):
            if origin := int(media.get("TIME_ORIGIN") or 0):
                logger.warning(
                    "%s: its zero is %g s into %s: put that into the manifest's column MODALITY_start_seconds",
                    path,
                    origin / 1000,
                    Path(media.get("MEDIA_URL") or "?").name,
                )
        times = {slot.attrib["TIME_SLOT_ID"]: float(slot.get("TIME_VALUE", "nan")) for slot in root.iter("TIME_SLOT")}
        tiers = list(root.iter("TIER"))
        spans: Spans = {}
        for tier in tiers:
            spans |= _aligned_spans(tier, times)
        _share_with_children(tiers, spans)
        for tier in tiers:
            for number, element in enumerate(_annotations(tier), start=1):
                start, end = spans[element.attrib["ANNOTATION_ID"]]
                place = f"{path} tier {tier.get('TIER_ID')!r} annotation {number}"
                label = read_caption(element.findtext("ANNOTATION_VALUE") or "")
                yield place, Annotation(path.stem, start / 1000, end / 1000, label=label, kind=tier.get("TIER_ID", ""))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: a time is no number, or an annotation refers to what is not in the file ({error}). "
            "Export it again"
        ) from None


def _parse(path: Path) -> ElementTree.Element:
    content = read_bytes(path, max_bytes=MAX_BYTES)
    if re.search(rb"<!(DOCTYPE|ENTITY)", content):
        raise ValueError(f"{path}: it declares entities, which ELAN never does. Export it again")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not readable as XML ({error}). Export it again") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise ValueError(f"{path}: it is no ELAN file: its root is {root.tag!r}, not 'ANNOTATION_DOCUMENT'")
    return root


def _annotations(tier: ElementTree.Element) -> list[ElementTree.Element]:
    return [element for annotation in tier.iter("ANNOTATION") for element in annotation]


def _aligned_spans(tier: ElementTree.Element, times: dict[str, float]) -> Spans:
    """Of the annotations of a tier that name slots of time, which may have none: even shares of the run they lie in."""
    spans: Spans = {}
    run: list[str] = []
    begin = np.nan
    for element in _annotations(tier):
        if element.tag != "ALIGNABLE_ANNOTATION":
            continue
        start, end = (times[element.attrib[name]] for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
        begin = start if np.isfinite(start) else begin
        run.append(element.attrib["ANNOTATION_ID"])
        if np.isfinite(end):
            edges = np.linspace(begin, end, len(run) + 1).tolist()
            spans |= {name: (a, b) for name, a, b in zip(run, edges[:-1], edges[1:], strict=True)}
            run = []
    return spans


def _share_with_children(tiers: list[ElementTree.Element], spans: Spans) -> None:
    """Add the spans of annotations that refer to others: an even share of their parent's."""
    children: dict[str, list[tuple[str, str]]] = defaultdict(list)  # parent → (tier, id)
    for tier in tiers:
        for element in _annotations(tier):
            if element.tag == "REF_ANNOTATION":
                parent = element.attrib["ANNOTATION_REF"]
                children[parent].append((tier.get("TIER_ID", ""), element.attrib["ANNOTATION_ID"]))
    parents = [parent for parent in children if parent in spans]
    while parents:
        parent = parents.pop()
        of_tier: dict[str, list[str]] = defaultdict(list)
        for tier_name, child in children[parent]:
            of_tier[tier_name].append(child)
        for names in of_tier.values():
            edges = np.linspace(*spans[parent], len(names) + 1).tolist()
            spans |= {name: (a, b) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)}
        parents += [child for _, child in children[parent] if child in children]
