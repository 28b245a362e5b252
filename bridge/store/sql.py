"""Plain multi-row statements over the SQLModel tables; built once per table and number of rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Table
from sqlmodel import SQLModel

# One statement carries at most this many rows: few distinct statements to prepare, and far below every driver's limit.
MAX_ROWS = 64
# Columns that never change once a row is there: an upsert that named them would have their indexes rewritten each time.
_FIXED: dict[str, frozenset[str]] = {
    "orders": frozenset({
        "tag", "alert_id", "leg", "part", "parts", "account", "strategy", "symbol", "product", "side", "ord_type",
        "time_in_force", "reduce_only", "signal_at", "received_at", "max_notional", "created_at",
        "variety", "iceberg_legs", "validity_minutes", "protect", "legs",
    }),
    "protections": frozenset({"account", "symbol", "product", "strategy", "side", "created_at"}),
    "trades": frozenset({"account", "symbol", "product", "strategy", "side", "multiplier", "opened_at"}),
    "paper_orders": frozenset({
        "tag", "symbol", "product", "side", "ord_type", "time_in_force", "placed_at", "legs",
    }),
}  # fmt: skip
_ENDING_COLUMNS = ("disposition", "code", "message", "ended_at")


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def columns_of(model: type[SQLModel]) -> tuple[str, ...]:
    """Column names, in the order of every row tuple."""
    return tuple(column.name for column in table_of(model).columns)


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@lru_cache(maxsize=4096)
def _values(columns: int, rows: int, mark: str) -> str:
    one = "(" + ",".join([mark] * columns) + ")"
    return ",".join([one] * rows)


@lru_cache(maxsize=4096)
def insert_sql(model: type[SQLModel], rows: int, mark: str) -> str:
    """INSERT of `rows` rows; a violated constraint raises."""
    names = columns_of(model)
    return f'INSERT INTO "{table_of(model).name}" ({_quoted(names)}) VALUES {_values(len(names), rows, mark)}'  # noqa: S608


@lru_cache(maxsize=4096)
def upsert_sql(model: type[SQLModel], rows: int, mark: str) -> str:
    """INSERT that brings a row whose primary key is there already up to date."""
    table = table_of(model)
    keys = tuple(column.name for column in table.columns if column.primary_key)
    fixed = _FIXED.get(table.name, frozenset())
    rest = tuple(column.name for column in table.columns if not column.primary_key and column.name not in fixed)
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in rest)
    return f"{insert_sql(model, rows, mark)} ON CONFLICT ({_quoted(keys)}) DO UPDATE SET {changes}"


@lru_cache(maxsize=4096)
def claim_sql(model: type[SQLModel], rows: int, mark: str) -> str:
    """INSERT that leaves out what is there already and returns the keys that were new."""
    keys = tuple(column.name for column in table_of(model).columns if column.primary_key)
    return f"{insert_sql(model, rows, mark)} ON CONFLICT DO NOTHING RETURNING {_quoted(keys)}"


@lru_cache(maxsize=4096)
def find_claims_sql(rows: int, mark: str) -> str:
    """Claims by (bucket, key)."""
    pairs = _values(2, rows, mark)
    return f"SELECT bucket, key, alert_id, content, received_at FROM claims WHERE (bucket, key) IN (VALUES {pairs})"  # noqa: S608


@lru_cache(maxsize=4096)
def end_alerts_sql(rows: int, mark: str) -> str:
    """Write the endings of alerts that have none; rows are (alert_id, disposition, code, message, ended_at)."""
    changes = ", ".join(
        f"{name} = CAST(v.column{i} AS BIGINT)" if name == "ended_at" else f"{name} = v.column{i}"
        for i, name in enumerate(_ENDING_COLUMNS, start=2)
    )
    return (
        f"UPDATE alerts SET {changes} FROM (VALUES {_values(5, rows, mark)}) AS v "  # noqa: S608
        "WHERE alerts.alert_id = v.column1 AND alerts.disposition IS NULL"
    )


@lru_cache(maxsize=256)
def delete_sql(model: type[SQLModel], mark: str) -> str:
    """DELETE of one row by its primary key."""
    table = table_of(model)
    where = " AND ".join(f'"{column.name}" = {mark}' for column in table.columns if column.primary_key)
    return f'DELETE FROM "{table.name}" WHERE {where}'  # noqa: S608


def flatten(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The parameters of a multi-row statement."""
    return [value for row in rows for value in row]
