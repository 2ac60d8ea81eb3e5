"""Pictures, spoken descriptions, sound effects and captions in many languages: the stamps of Tux Paint.

A row is a stamp. `image` is its picture on white (SVG is rendered), with its mirrored drawing where there is one;
`speech` its description as spoken in up to 14 languages, `audio` its sound effects, `text` its caption, English or in
the languages of --captions. No split is published: families of stamps are owners, a seventh of them is the test,
another tenth the validation. A family is what shares a name (numbers, capitals, mirror and outline aside), a caption
or the bytes of a file, so that neither a variant of a picture nor a recording is in two splits; the voices are. Stamps
with one caption form a group; labels are the top folders. Checked: pictures and sounds decode, sounds are not silent,
and each belongs to a stamp with an English caption.
Layout: the package's own files and Tux Paint's documentation of stamps.
"""

from __future__ import annotations

import hashlib
import os
import re
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import finish_manifest, hold_out, parse_arguments, relative_path, run_script, sound_problem
from PIL import Image

from bind.media.pictures import open_image
from bind.types import Clip, PackedFile

TEST_SHARE, VAL_SHARE = 1 / 7, 1 / 10
MAX_SIDE_PX = 256
LANGUAGE = r"[a-z]{2,3}(?:_[A-Za-z]{2,3})?"
SPOKEN = re.compile(rf"(?P<stamp>.+?)_desc(?:_(?P<language>{LANGUAGE}))?", re.IGNORECASE)
EFFECT = re.compile(rf"(?P<stamp>.+?)(?:_(?P<language>{LANGUAGE}))?")
MIRRORED = re.compile(r"(?P<stamp>.+)_(?:mirror_flip|mirror|flip)")
CAPTION = re.compile(r"(?P<language>[A-Za-z@_]+)\.utf8=(?P<caption>.+)")
WHERE_TO_GET = (
    "Get it with: apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb DIR\n"
    "(Bill Kendrick and others, GPL-2) and pass DIR/usr/share/tuxpaint/stamps. Pictures in SVG need the extra\n"
    "datasets (resvg-py)"
)


@dataclass
class Stamp:
    """The files of one stamp; `captions` and `speech` by language."""

    name: str
    pictures: list[Path]
    captions: dict[str, str] = field(default_factory=dict)
    speech: dict[str, Path] = field(default_factory=dict)
    effects: list[Path] = field(default_factory=list)

    @property
    def key(self) -> str:
        return re.sub(r"[^A-Za-z0-9_-]+", "_", self.name)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of the data set, and the files that its rows name."""
    args = parse_arguments(str(__doc__), WHERE_TO_GET, argv, _add_arguments)
    languages = args.captions.split(",")
    files = sorted(path for path in args.source.rglob("*") if path.suffix.lower() in (".png", ".svg", ".ogg", ".wav"))
    if not files:
        raise ValueError(f"{args.source}: no stamps there.\n{WHERE_TO_GET}")
    stamps, left_out = collect_stamps(args.source, files)

    (args.out / "image").mkdir(parents=True, exist_ok=True)
    bad: dict[Path, str] = {}
    kept: list[tuple[Stamp, list[str]]] = []
    for stamp in stamps.values():
        for path in [*stamp.speech.values(), *stamp.effects]:
            if problem := sound_problem(path):
                bad[path] = problem
        stamp.speech = {language: path for language, path in stamp.speech.items() if path not in bad}
        stamp.effects = [path for path in stamp.effects if path not in bad]
        pictures = []
        for number, path in enumerate(stamp.pictures):
            name = f"image/{stamp.key}{'_mirror' if number else ''}.png"
            try:
                render_on_white(path).save(args.out / name, compress_level=1)
            except ValueError as error:
                bad[path] = str(error)
            else:
                pictures.append(name)
        if not stamp.captions.get("en"):
            left_out[stamp.name] = "a stamp without an English caption"
        elif pictures:
            kept.append((stamp, pictures))

    family = find_families([stamp for stamp, _ in kept])
    test = hold_out(family.values(), TEST_SHARE, args.seed)
    val = hold_out(set(family.values()) - test, VAL_SHARE / (1 - TEST_SHARE), args.seed)
    rows = []
    for stamp, pictures in kept:
        owner = family[stamp.name]
        row = {
            "key": stamp.key,
            "split": "test" if owner in test else "val" if owner in val else "train",
            "group": normalise_caption(stamp.captions["en"]),
            "owner": f"family:{owner}",
            "label": stamp.name.split("/")[0],
            "image": pictures,
            "speech": [relative_path(path, args.out) for _, path in sorted(stamp.speech.items())],
            "audio": [relative_path(path, args.out) for path in stamp.effects],
            "text": [stamp.captions[language] for language in languages if language in stamp.captions],
        }
        rows.append({column: cell for column, cell in row.items() if cell})
    spoken = Counter(language for stamp, _ in kept for language in stamp.speech)
    written = Counter(language for stamp, _ in kept for language in stamp.captions)
    print(f"{len(kept)} stamps in {len(set(family.values()))} families, {sum(bool(s.effects) for s, _ in kept)} with")
    print(f"sound effects, {sum(bool(s.speech) for s, _ in kept)} with spoken descriptions")
    print(
        f"captions in {len(written)} languages, spoken: " + ", ".join(f"{name} {n}" for name, n in spoken.most_common())
    )
    finish_manifest(rows, args, num_files=len(files), bad=bad, left_out=left_out, count_by="label")


def collect_stamps(source: Path, files: Iterable[Path]) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Stamps by lower-case name, and the files that belong to none."""
    pictures: dict[str, list[Path]] = defaultdict(list)
    sounds = []
    for path in files:
        if path.suffix.lower() in (".png", ".svg"):
            pictures[stamp_name(path, source)].append(path)
        else:
            sounds.append(path)
    stamps: dict[str, Stamp] = {}
    variants = []
    for name, paths in pictures.items():
        mirrored = MIRRORED.fullmatch(name)
        if mirrored and mirrored["stamp"] in pictures:
            variants.append((mirrored["stamp"], paths[0]))
        else:
            # Where a stamp is there in both formats, .png is first in order of the alphabet.
            stamps[name.lower()] = Stamp(name, paths[:1], _read_captions(paths[0].with_suffix(".txt")))
    for name, path in variants:
        stamps[name.lower()].pictures.append(path)

    left_out = {}
    for path in sounds:
        # Capitals differ between a few pictures and their sounds.
        name = stamp_name(path, source)
        spoken, effect = SPOKEN.fullmatch(name), EFFECT.fullmatch(name)
        if spoken and spoken["stamp"].lower() in stamps:
            stamps[spoken["stamp"].lower()].speech[spoken["language"] or "en"] = path
        elif name.lower() in stamps:
            stamps[name.lower()].effects.append(path)
        elif effect and effect["stamp"].lower() in stamps:
            stamps[effect["stamp"].lower()].effects.append(path)
        else:
            left_out[str(path.relative_to(source))] = "a sound without a stamp of its name"
    return stamps, left_out


def find_families(stamps: Sequence[Stamp]) -> dict[str, str]:
    """Name of a stamp → the first name of its family: what a name, a caption or a recording ties together."""
    parent = {stamp.name: stamp.name for stamp in stamps}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for stamp in stamps:
        ties = [f"name {base_name(stamp.name)}", f"caption {normalise_caption(stamp.captions['en'])}"]
        sounds = [*stamp.speech.values(), *stamp.effects]
        ties += [f"bytes {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in [*stamp.pictures, *sounds]]
        for tie in ties:
            one, other = sorted((root(stamp.name), root(first.setdefault(tie, stamp.name))))
            parent[other] = one
    return {stamp.name: root(stamp.name) for stamp in stamps}


def base_name(name: str) -> str:
    """The last part of a name, without the numbers and words by which variants differ."""
    base = name.rsplit("/", 1)[-1].lower()
    base = re.sub(r"_(?:outlined?|filled|mirror|flip|cartoon|photo|small|baby)\b", "", base.replace("-", "_"))
    return re.sub(r"[_0-9]+[a-z]?$", "", base) or base


def normalise_caption(caption: str) -> str:
    """The words of a caption in lower case, without punctuation."""
    return " ".join(re.findall(r"[^\W_]+", caption.lower()))


def render_on_white(path: Path) -> Image.Image:
    """The picture in RGB, at most 256 pixels a side; ValueError where it cannot be read."""
    try:
        if path.suffix.lower() == ".svg":
            import resvg_py

            # Sizes in points or millimetres need a resolution.
            data = resvg_py.svg_to_bytes(svg_path=str(path), width=MAX_SIDE_PX, dpi=96)
            flat = open_image(Clip(PackedFile(str(path), bytes(data))))
        else:
            flat = open_image(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"not readable as a picture ({error})") from error
    flat.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return flat


def stamp_name(path: Path, source: Path) -> str:
    """Path under `source` without its extensions; a few files have two."""
    name = path.relative_to(source).as_posix()
    while os.path.splitext(name)[1].lower() in (".png", ".svg", ".ogg", ".wav"):
        name = os.path.splitext(name)[0]
    return name


def _read_captions(path: Path) -> dict[str, str]:
    """Language → caption: the first line is English, each other one names its language."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    captions = {"en": lines[0].strip()} if lines and not CAPTION.fullmatch(lines[0]) else {}
    for line in lines:
        if match := CAPTION.fullmatch(line.strip()):
            captions.setdefault(match["language"], match["caption"].strip())
    return captions


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--captions", default="en", metavar="LANGUAGES", help="of the column text, as in en,fr,pt_BR (default: en)"
    )


if __name__ == "__main__":
    run_script(main)
