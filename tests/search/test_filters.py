"""Conditions: what SQL means by them, and everything that is none."""

import sqlite3

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.search.filters import Filter
from bind.search.rows import table_of_rows

TABLE = table_of_rows(
    {
        "key": ["a", "b", "c", "d", "e"],
        "split": ["test", "val", "test", None, "train"],
        "label": ["dog", "cat", None, "o'dog", "Dog"],
        "start_seconds": [0.0, 1.5, None, 10.0, -2.0],
        "year": [2020, None, 2022, 2023, 2024],
        "loud": [True, False, None, True, False],
    }
)
OWN = {"year": "int64", "loud": "bool"}


def rows(text):
    mask = Filter(text, OWN).mask(TABLE, "audio")
    return "".join(key for key, is_in in zip("abcde", mask, strict=True) if is_in)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("split = 'test'", "ac"),
        ("split == 'test'", "ac"),
        ("split != 'test'", "be"),
        ("not split = 'test'", "be"),
        ("split is null", "d"),
        ("split IS NOT NULL", "abce"),
        ("label = 'o''dog'", "d"),
        ("label in ('dog', 'cat')", "ab"),
        ("label not in ('dog', 'cat')", "de"),
        ("label like '%dog'", "ad"),
        ("label not like '%og'", "b"),
        ("label like '_og'", "ae"),
        ("start_seconds >= 1.5", "bd"),
        ("start_seconds < 0", "e"),
        ("start_seconds = -2", "e"),
        ("year > 2020.5", "cde"),
        ("year in (2020, 2024)", "ae"),
        ("loud = true", "ad"),
        ("loud = FALSE", "be"),
        ("modality = 'audio' and key = 'a'", "a"),
        ("modality = 'image'", ""),
        ("year = 99999999999999999999", ""),
        ("split = 'test' or split = 'val' and label = 'dog'", "ac"),
        ("(split = 'test' or split = 'val') and label = 'cat'", "b"),
        ("split = 'nowhere' or not (label = 'dog' or year is null)", "de"),
    ],
)
def test_a_condition_means_what_it_means_in_sql(text, expected):
    assert rows(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("splitt = 'test'", "no column splitt; did you mean split"),
        ("split = test", "'single quotes', which is missing at 'test'"),
        ("split = 5", "'single quotes', which is missing at '5'"),
        ("year = '2020'", "a number, which is missing"),
        ("loud = 1", "true or false, which is missing"),
        ("split", "a comparison is missing"),
        ("split =", "which is missing at its end"),
        ("= 'test'", "the name of a column is missing at \"= 'test'\""),
        ("split = 'test' label = 'dog'", "something follows at \"label = 'dog'\""),
        ("(split = 'test'", "a bracket is not closed"),
        ("split in ('test'", r"in \(…\) is not closed"),
        ("split in ()", "which is missing"),
        ("year like '2%'", "year holds no text"),
        ("split = 'test", "no word, number"),
        ("split = 'test'; drop table", "no word, number"),
        ("__import__('os').system('true')", "no word, number"),
        ("", "the name of a column is missing at its end"),
        ("(" * 40 + "split = 'a'" + ")" * 40, "more than 32 brackets"),
        ("not " * 5000 + "split = 'a'", "at most 4096"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=message):
        Filter(text, OWN)


CONDITIONS = st.recursive(
    st.sampled_from(
        [
            "split = 'test'",
            "label like '%d%'",
            "year >= 2022",
            "label is null",
            "start_seconds <> 10",
            "label not in ('cat', 'Dog')",
        ]
    ),
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(text=CONDITIONS)
def test_it_finds_the_rows_that_sqlite_finds(text):
    database = sqlite3.connect(":memory:")
    database.execute("pragma case_sensitive_like = on")
    names = TABLE.column_names
    database.execute(f"create table t ({', '.join(chr(34) + name + chr(34) for name in names)})")
    marks = ", ".join("?" * len(names))
    database.executemany(f"insert into t values ({marks})", [tuple(row.values()) for row in TABLE.to_pylist()])
    assert rows(text) == "".join(key for (key,) in database.execute(f"select key from t where {text} order by key"))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="splityear=<>!'() ,.-05andortinulke\n\x00é", max_size=40))
def test_any_text_is_a_condition_or_a_value_error(text):
    try:
        mask = Filter(text, OWN).mask(TABLE, "audio")
    except ValueError:
        return
    assert mask.dtype == np.bool_


def test_a_column_that_a_part_lacks_is_empty_there():
    table = pa.table({"split": ["test"]})
    assert Filter("place = 'yard'", {"place": "string"}).mask(table, "audio").tolist() == [False]
    assert Filter("place is null", {"place": "string"}).mask(table, "audio").tolist() == [True]
