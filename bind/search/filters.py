"""Filters of rows: a small part of SQL's conditions, read by a parser of its own, which runs no code.

split = 'test' and (label in ('dog', 'cat') or caption like '%bark%') and not start_seconds >= 10 and owner is not null
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.search.rows import KNOWN, OWN_KINDS

MAX_LENGTH = 4096
MAX_DEPTH = 32
WORD = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),]))",
    re.ASCII,
)
COMPARE: Mapping[str, Callable[..., Any]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
RESERVED = ("and", "or", "not", "in", "is", "null", "like", "true", "false")
EXAMPLE = "where=\"split = 'test' and label in ('dog', 'cat')\""

Condition = Callable[[Callable[[str], Any]], Any]
"""From the columns of a table, by name, to bools, null where it can't be said."""


@dataclass(frozen=True)
class Filter:
    """A condition that rows of an index may meet.

    Args:
        text: the condition.
        own_columns: name → kind of columns that an index has besides those that every one has.

    Raises:
        ValueError: for what is no condition, with the place, an unknown column, or a value of another kind.

    Examples:
        >>> table = pa.table({"label": ["dog", None, "cat"], "split": ["test", "test", "val"]})
        >>> Filter("label != 'cat' or split = 'val'").mask(table, "audio").tolist()
        [True, False, True]
    """

    text: str
    own_columns: Mapping[str, str] | None = None
    kinds: Mapping[str, pa.DataType] = field(init=False, repr=False, compare=False)
    condition: Callable[[Callable[[str], Any]], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = {known.name: known.type for known in KNOWN} | {"modality": pa.string()}
        kinds |= {name: OWN_KINDS[kind] for name, kind in (self.own_columns or {}).items()}
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "condition", _Parser(self.text, kinds).parse())

    def mask(self, table: pa.Table, modality: str) -> np.ndarray:
        """The rows (N,) bool that meet the condition; where a cell is empty it can't be said, and they don't."""

        def column(name: str) -> Any:
            if name == "modality":
                return pa.chunked_array([pa.array([modality] * table.num_rows, pa.string())])
            if name in table.schema.names:
                return table.column(name)
            return pa.chunked_array([pa.nulls(table.num_rows, self.kinds[name])])

        values = self.condition(column)
        mask: np.ndarray = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
        return mask


class _Parser:
    """Reader of one condition, word by word."""

    def __init__(self, text: str, kinds: Mapping[str, pa.DataType]) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"where= has {len(text)} characters; at most {MAX_LENGTH} are read")
        self.text, self.kinds = text, kinds
        self.words = list(self._split(text))
        self.place = 0

    def _split(self, text: str) -> Sequence[tuple[str, str, int]]:
        words, at = [], 0
        while text[at:].strip():
            match = WORD.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise ValueError(self._wrong(at, "no word, number, sign or text in 'single quotes'"))
            assert match.lastgroup is not None
            words.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return words

    def _wrong(self, at: int, what: str) -> str:
        rest = f"at {self.text[at : at + 20]!r}" if at < len(self.text) else "at its end"
        return f"where={self.text!r}: {what} {rest}. Write it like {EXAMPLE}"

    def _raise(self, what: str) -> ValueError:
        at = self.words[self.place][2] if self.place < len(self.words) else len(self.text)
        return ValueError(self._wrong(at, what))

    def _peek(self) -> str:
        """The next word in lower case, where it is one of the language, else nothing."""
        kind, word, _ = self.words[self.place] if self.place < len(self.words) else ("", "", 0)
        return word.lower() if kind == "sign" or (kind == "name" and word.lower() in RESERVED) else ""

    def _take(self, *words: str) -> bool:
        """Go past these words, where they are the next."""
        before = self.place
        for word in words:
            if self._peek() != word:
                self.place = before
                return False
            self.place += 1
        return True

    def parse(self) -> Condition:
        condition = self._any(0)
        if self.place < len(self.words):
            raise self._raise("a condition has ended, and something follows")
        return condition

    def _any(self, depth: int) -> Condition:
        return self._chain(depth, "or", pc.or_kleene, self._all)

    def _all(self, depth: int) -> Condition:
        return self._chain(depth, "and", pc.and_kleene, self._not)

    def _chain(self, depth: int, word: str, join: Callable[..., Any], inner: Callable[[int], Condition]) -> Condition:
        conditions = [inner(depth)]
        while self._take(word):
            conditions.append(inner(depth))

        def evaluate(column: Callable[[str], Any]) -> Any:
            values = conditions[0](column)
            for condition in conditions[1:]:
                values = join(values, condition(column))
            return values

        return evaluate

    def _not(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self._raise(f"more than {MAX_DEPTH} brackets and nots within one another")
        if self._take("not"):
            inner = self._not(depth + 1)
            return lambda column: pc.invert(inner(column))
        if self._take("("):
            inner = self._any(depth + 1)
            if not self._take(")"):
                raise self._raise("a bracket is not closed")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        name = self._column()
        if self._take("is", "not", "null"):
            return lambda column: column(name).is_valid()
        if self._take("is", "null"):
            return lambda column: column(name).is_null()
        is_not = self._take("not")
        if self._take("in", "("):
            condition = self._one_of(name)
        elif self._take("like"):
            condition = self._like(name)
        elif not is_not and (sign := self._peek()) in COMPARE:
            self.place += 1
            value = self._value(name)
            compare = COMPARE[sign]
            return lambda column: compare(column(name), value)
        else:
            raise self._raise("a comparison is missing (=, !=, <, <=, >, >=, in (…), like '…', is null)")
        return (lambda column: pc.invert(condition(column))) if is_not else condition

    def _column(self) -> str:
        kind, name, at = self.words[self.place] if self.place < len(self.words) else ("", "", len(self.text))
        if kind != "name" or name.lower() in RESERVED:
            raise ValueError(self._wrong(at, "the name of a column is missing"))
        if name not in self.kinds:
            close = difflib.get_close_matches(name, self.kinds, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"where={self.text!r}: there is no column {name}; {hint}There are {', '.join(self.kinds)}")
        self.place += 1
        return name

    def _value(self, name: str) -> pa.Scalar:
        """The next word as a value of a column's kind."""
        kind, word, at = self.words[self.place] if self.place < len(self.words) else ("", "", len(self.text))
        column = self.kinds[name]
        value: Any = None
        if kind == "text" and pa.types.is_string(column):
            value = word[1:-1].replace("''", "'")
        elif kind == "number" and not (pa.types.is_string(column) or pa.types.is_boolean(column)):
            value, column = float(word), pa.float64()
            if word.lstrip("-").isdecimal() and abs(int(word)) < 2**63:
                value, column = int(word), pa.int64()
        elif kind == "name" and word.lower() in ("true", "false") and pa.types.is_boolean(column):
            value = word.lower() == "true"
        if value is None:
            wants = "a text in 'single quotes'" if pa.types.is_string(column) else "true or false"
            wants = wants if pa.types.is_string(column) or pa.types.is_boolean(column) else "a number"
            raise ValueError(self._wrong(at, f"{name} is compared with {wants}, which is missing"))
        self.place += 1
        return pa.scalar(value, column)

    def _one_of(self, name: str) -> Condition:
        values = [self._value(name)]
        while self._take(","):
            values.append(self._value(name))
        if not self._take(")"):
            raise self._raise("the list of in (…) is not closed")

        def evaluate(column: Callable[[str], Any]) -> Any:
            cells = column(name)
            equal = pc.equal(cells, values[0])
            for value in values[1:]:
                equal = pc.or_kleene(equal, pc.equal(cells, value))
            return equal

        return evaluate

    def _like(self, name: str) -> Condition:
        if not pa.types.is_string(self.kinds[name]):
            raise self._raise(f"{name} holds no text, so like can't be asked of it")
        pattern = self._value(name).as_py()
        return lambda column: pc.match_like(column(name), pattern)
