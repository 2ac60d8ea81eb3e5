"""Rows of an index's tables: what is known of each vector, as columns of Arrow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

KNOWN = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("label", pa.string()),
        pa.field("owner", pa.string()),
        pa.field("path", pa.string()),
        pa.field("start_seconds", pa.float64()),
        pa.field("end_seconds", pa.float64()),
        pa.field("caption", pa.string()),
    ]
)
"""Columns that every row has: the sample's key and which of its values this is, its metadata, file and span, and a text
of the sample."""
OWN_TYPES = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
"""Of columns of a user's own."""
OWN_KINDS = {str(kind): kind for kind in OWN_TYPES}
COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)
RESERVED = ("modality", "score", "standard_score", "rank", "embedding")
MAX_COLUMNS = 256


def table_of_rows(columns: Mapping[str, Sequence[Any] | pa.Array]) -> pa.Table:
    """The table of a part; `key` must be there, `number` is 0 and other known columns are empty where they are not.

    Raises:
        ValueError: for columns of unequal lengths, a missing key, or values of other kinds than text, numbers and true
            or false.

    Examples:
        >>> table = table_of_rows({"key": ["a", "b"], "place": ["yard", None]})
        >>> table.column("number").to_pylist(), table.column("place").to_pylist()
        ([0, 0], ['yard', None])
    """
    if "key" not in columns:
        raise ValueError("columns: key is missing, the name of each vector's sample")
    num_rows = len(columns["key"])
    if wrong := [name for name, values in columns.items() if len(values) != num_rows]:
        raise ValueError(f"columns: {wrong[0]} has {len(columns[wrong[0]])} values, key has {num_rows}")
    fields, arrays = [], []
    for field in KNOWN:
        default = [0] * num_rows if field.name == "number" else [None] * num_rows
        arrays.append(_array(field.name, columns.get(field.name, default), field.type))
        fields.append(field)
        if not field.nullable and arrays[-1].null_count:
            raise ValueError(f"columns: {field.name} is empty in a row; every row needs it")
    for name in [name for name in columns if name not in KNOWN.names]:
        if not COLUMN_NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"columns: {name!r} can't be a column; take lower-case letters, digits and underscores")
        array = _array(name, columns[name], None)
        fields.append(pa.field(name, array.type))
        arrays.append(array)
    return pa.table(arrays, schema=require_row_schema(pa.schema(fields), "columns"))


def _array(name: str, values: Sequence[Any] | pa.Array, kind: pa.DataType | None) -> pa.Array:
    try:
        array = pa.array(values, kind)
        if kind is None:
            narrow = {
                pa.types.is_integer: pa.int64(),
                pa.types.is_floating: pa.float64(),
                pa.types.is_null: pa.string(),
            }
            wide = next((to for is_of, to in narrow.items() if is_of(array.type)), array.type)
            array = array.cast(pa.string() if pa.types.is_large_string(array.type) else wide)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"columns: {name} holds values that are no {kind or 'text, number or true/false'} ({error})"
        ) from error
    return array


def require_row_schema(schema: pa.Schema, where: str) -> pa.Schema:
    """`schema`, where it is one of an index's tables; ValueError, naming `where`, for any other."""
    if schema.names[: len(KNOWN)] != KNOWN.names or schema.types[: len(KNOWN)] != KNOWN.types:
        raise ValueError(f"{where}: its columns do not begin with {', '.join(KNOWN.names)}")
    if len(schema) > MAX_COLUMNS or len(set(schema.names)) < len(schema):
        raise ValueError(f"{where}: it has more than {MAX_COLUMNS} columns, or two of one name")
    for field in list(schema)[len(KNOWN) :]:
        is_free = COLUMN_NAME.fullmatch(field.name) and field.name not in RESERVED
        if not is_free or field.type not in OWN_TYPES:
            raise ValueError(
                f"{where}: {field.name[:60]!r} of {field.type} is no column of text, numbers or true/false"
            )
    return schema
