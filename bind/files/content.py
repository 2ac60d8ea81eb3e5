"""What a file is by its first bytes, whatever it is called: packed, another program's, text, and in which encoding."""

from __future__ import annotations

import codecs
import re

HEAD_BYTES = 512
MIN_LETTERS = 16
"""From so many bytes on zeros show an encoding: a word may have some behind it."""
UNPACK = "unpack it"
EXPORT = "export from it what is needed"
NO_READER = (
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive (.xlsx, .ods and .npz are such)", f"{UNPACK}, or {EXPORT}"),
    (rb"\x1f\x8b", "packed by gzip", UNPACK),
    (rb"\xfd7zXZ\x00", "packed by xz", UNPACK),
    (rb"BZh[1-9]1AY&SY", "packed by bzip2", UNPACK),
    (rb"\x28\xb5\x2f\xfd", "packed by zstd", UNPACK),
    (rb"\x04\x22\x4d\x18", "packed by lz4", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (rb"Rar!\x1a\x07", "a rar archive", UNPACK),
    (rb"(?s:.{257})ustar", "a tar archive", UNPACK),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document of the old kind (.xls)", EXPORT),
    (rb"%PDF-", "a PDF", EXPORT),
    (rb"\{\\rtf", "an RTF document", EXPORT),
    (rb"SQLite format 3\x00", "an SQLite database", EXPORT),
    (rb"(?s:.{4})ftyp(?:hei[cmsx]|hev[cx])", "a HEIC picture", "convert it to JPEG or PNG"),
    (rb"II\*\x00(?s:.{4})CR", "a raw file of a camera", "export it as JPEG or PNG"),
    (rb"\x89HDF\r\n\x1a\n|MATLAB [57]\.", "HDF5 or MATLAB data", EXPORT),
    (rb"ARROW1|FEA1", "an Arrow (Feather) file", "write it as Parquet or CSV"),
    (rb"\x80[\x02-\x05](?:\x95|[}\]c])", "a Python pickle", "write it as Parquet or CSV"),
    (rb"version https://git-lfs", "the pointer that Git LFS leaves in place of a file", "fetch the file: git lfs pull"),
    (rb"(?i:\s*(?:<!--.{0,200}?-->\s*)?<(?:!doctype html|html|head|body)[\s>])", "a web page", "download it again"),
    (rb"\s*<(?:\?xml|svg[\s>])", "XML, as SVG is", EXPORT),
    (rb"\x7fELF|MZ\x90", "a program", "check its name"),
)
"""Pattern of the first bytes, what begins so that no reader takes, and what to do about it."""
NO_TABLE = (
    (rb"PAR1\x15", "Parquet", "name it .parquet"),
    (rb"\x93NUMPY", "a NumPy array", "name it .npy"),
    (rb"\x89PNG\r|\xff\xd8\xff|GIF8|BM(?s:.{4})\x00\x00\x00\x00|II\*\x00|MM\x00\*|RIFF(?s:.{4})WEBP", "a picture", ""),
    (rb"RIFF(?s:.{4})WAVE|RF64|fLaC\x00|OggS\x00|ID3[\x02-\x04]|FORM(?s:.{4})AIF|caff\x00", "a sound", ""),
    (rb"RIFF(?s:.{4})AVI |(?s:.{4})ftyp|\x1aE\xdf\xa3", "a video", ""),
)


def describe_other_format(head: bytes) -> str:
    """What a file that no reader takes is by its first `HEAD_BYTES`, and what to do about it; empty where not known.

    Examples:
        >>> describe_other_format(b"PK\\x03\\x04...")
        'it is a zip archive (.xlsx, .ods and .npz are such): unpack it, or export from it what is needed'
        >>> describe_other_format(b"key,split,text")
        ''
    """
    return _describe(head, NO_READER)


def _describe(head: bytes, formats: tuple[tuple[bytes, str, str], ...]) -> str:
    for pattern, what, remedy in formats:
        if re.match(pattern, head):
            return f"it is {what}" + (f": {remedy}" if remedy else "")
    return ""


def text_encoding(head: bytes, name: object) -> str:
    """The encoding of a text by its first bytes: UTF-16 where they say so, else UTF-8 with or without a mark.

    Raises:
        ValueError: naming the file, where it is no text by them, or in an encoding that isn't read.

    Examples:
        >>> text_encoding("key,split".encode("utf-16"), "a.csv"), text_encoding(b"key,split", "a.csv")
        ('utf-16', 'utf-8-sig')
    """
    head = head[:HEAD_BYTES]
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ValueError(f"{name}: it is text in UTF-32; save it as UTF-8")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if other := _describe(head, (*NO_READER, *NO_TABLE)):
        raise ValueError(f"{name}: {other}")
    if len(head) >= MIN_LETTERS and (wide := _wide_encoding(head)):
        raise ValueError(f"{name}: it looks like {wide} without a byte order mark; save it as UTF-8")
    if b"\0" in head and re.search(rb"[\x01-\x08\x0e-\x1a]", head):
        raise ValueError(f"{name}: it is binary, no text")
    return "utf-8-sig"


def _wide_encoding(head: bytes) -> str:
    """The encoding in which letters of English have zeros beside them: 1 byte of 2 in UTF-16, 3 of 4 in UTF-32."""
    num_places = sum(head[place::4].count(0) * 8 > len(head) for place in range(4))
    return {3: "UTF-32", 2: "UTF-16"}.get(num_places, "")


def decode_text(content: bytes, name: object) -> str:
    """The text of a file in UTF-8, or in UTF-16 that begins with its mark.

    Raises:
        ValueError: naming the file, and the line where it is neither.
    """
    encoding = text_encoding(content, name)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise ValueError(
                f"{name}: not UTF-16, as its first bytes say ({error.reason}); save it as UTF-8"
            ) from error
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{name} line {line}: not UTF-8 (byte 0x{content[error.start]:02x}), perhaps Latin-1; save it as UTF-8"
        ) from error
