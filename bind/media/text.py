"""Readers of text: captions as tables and shards hold them, and their cleaning before a tokenizer sees them."""

from __future__ import annotations

import html
import re

READER_VERSION = 1
"""Raised where the same text would be read or cleaned otherwise: part of the key of caches."""
MISSING_WORDS = frozenset({"nan", "none", "null", "<na>", "n/a", "#n/a"})
"""What programs write where there is no caption, in any case."""
INVISIBLE = "\ufeff\u200b\u2060\x00"
"""Characters that show nothing and that `str.strip` keeps: marks of byte order, joiners of width 0, zeros."""


def read_caption(text: str) -> str | None:
    """A caption without what surrounds it and can't be seen; None where nothing or only a word for nothing is left.

    Examples:
        >>> read_caption("\\ufeff a cat \\n"), read_caption(" "), read_caption("NaN")
        ('a cat', None, None)
    """
    text = re.sub(rf"^[\s{INVISIBLE}]+|[\s{INVISIBLE}]+$", "", text)
    shown = clean_text(text).lower()
    return None if not shown or shown in MISSING_WORDS else text


def clean_text(text: str, *, for_clip: bool = False) -> str:
    """Repair what programs did to a text on its way: HTML entities, UTF-8 that was read as Latin-1, runs of blanks.

    Text that has nothing of these stays as it is. `for_clip` also makes curly quotes straight, ligatures letters and
    wide characters narrow, as CLIP's texts were before its tokenizer saw them.

    Source: CLIP's tokenizer (Radford et al., 2021): ftfy, twice `html.unescape`, blanks collapsed.

    Examples:
        >>> clean_text("a caf&eacute; in  Orl\u00c3\u00a9ans &amp;amp; more")
        'a café in Orléans & more'
        >>> clean_text("it\u2019s"), clean_text("it\u2019s", for_clip=True)
        ('it’s', "it's")
    """
    if not (text.isascii() and text.isprintable() and "&" not in text):
        import ftfy

        options = ftfy.TextFixerConfig(
            uncurl_quotes=for_clip, fix_latin_ligatures=for_clip, fix_character_width=for_clip
        )
        text = html.unescape(html.unescape(ftfy.fix_text(text, options)))
    return " ".join(text.split())
