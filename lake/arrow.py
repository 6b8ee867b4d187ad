"""Rows of the database as Arrow, in the types that engines want. No network, no disk."""

from __future__ import annotations

import json
from typing import Any, Sequence

from arro3.core import Array, DataType, Field, RecordBatch, Schema, list_array

from lake.tables import Column, Kind, Table

_NAME = Field("element", DataType.string(), nullable=True)  # as the Delta protocol calls what lies in an array
_TYPES = {
    Kind.TEXT: DataType.string(),
    Kind.INTEGER: DataType.int64(),
    Kind.REAL: DataType.float64(),
    Kind.FLAG: DataType.bool(),
    Kind.TIME: DataType.timestamp("us", tz="UTC"),
    Kind.NAMES: DataType.list(_NAME),
}


def schema(table: Table) -> Schema:
    """With the columns' comments, as Delta and Spark keep them."""
    return Schema([_field(column) for column in table.columns])


def batch(table: Table, rows: Sequence[Sequence[Any]]) -> RecordBatch:
    """`rows` are not empty, and have the table's columns."""
    columns = [_array(column.kind, values) for column, values in zip(table.columns, zip(*rows))]
    return RecordBatch.from_arrays(columns, schema=schema(table))


def _field(column: Column) -> Field:
    return Field(column.name, _TYPES[column.kind], nullable=True, metadata={"comment": column.comment})


def _array(kind: Kind, values: Sequence[Any]) -> Array:
    if kind is Kind.FLAG:
        return Array([None if value is None else bool(value) for value in values], DataType.bool())
    if kind is Kind.REAL:  # a view may have whole numbers among them, and PostgreSQL's numerics
        return Array([None if value is None else float(value) for value in values], DataType.float64())
    if kind is Kind.TIME:
        return Array(values, DataType.string()).cast(_TYPES[kind])
    if kind is Kind.NAMES:
        return _lists(values)
    return Array(values, _TYPES[kind])


def _lists(texts: Sequence[str | None]) -> Array:
    names: list[str | None] = []
    ends = [0]
    for text in texts:
        if text is not None and text != "[]":
            names += json.loads(text)
        ends.append(len(names))
    return list_array(Array(ends, DataType.int32()), Array(names, DataType.string()), type=_TYPES[Kind.NAMES])
