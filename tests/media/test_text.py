import html
import string

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.media.text import clean_text, read_caption

PLAIN = st.text(string.ascii_letters + string.digits + " .,;:!?'\"()-/#%+*=$@[]_<>", min_size=1)


@pytest.mark.slow
@given(PLAIN)
def test_plain_text_stays_as_it_is_but_for_blanks(text):
    for for_clip in (False, True):
        assert clean_text(text, for_clip=for_clip) == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "naïve café",
        "日本語，全角！",
        "собака лает",
        "👩‍👩‍👧 at the beach",
        "it’s “quoted”",
        "R&D & more",
        "x < y > z",
        "ﬁne",
    ],
)
def test_other_languages_and_signs_stay_as_they_are(text):
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a caf&eacute;", "a café"),
        ("fish &amp; chips", "fish & chips"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("&lt;b&gt;dog&lt;/b&gt;", "<b>dog</b>"),
        ("it&#39;s &quot;loud&quot;", 'it\'s "loud"'),
        ("cafÃ© au lait", "café au lait"),
        ("itâ€™s", "it’s"),
        ("a\tdog\r\n barks\u00a0 ", "a dog barks"),
        ("\ufeffa cat", "a cat"),
        ("a\x00 \x1b[31mred\x1b[0m dog", "a red dog"),
    ],
)
def test_what_programs_did_to_a_text_is_undone(text, cleaned):
    assert clean_text(text) == cleaned
    assert clean_text(cleaned) == cleaned
    assert clean_text(text, for_clip=True) == cleaned.replace("’", "'")


@pytest.mark.slow
@given(st.text())
def test_clip_gets_what_its_own_cleaning_gives(text):
    by_clip = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    assert clean_text(text, for_clip=True) == " ".join(by_clip.split())


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "\ufeff", "\ufeff \n", "\u200b", "&nbsp;", "\x00", "nan", "NaN", "None", "null", " <NA> ", "N/A"],
)
def test_a_caption_that_says_nothing_is_none(text):
    assert read_caption(text) is None


@pytest.mark.parametrize("text", ["a nan bread", "None of them", "0", "?", "naan", "null pointer"])
def test_a_caption_with_such_words_in_it_is_one(text):
    assert read_caption(f"\ufeff {text}\n") == text
