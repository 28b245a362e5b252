"""Alembic's entry: migrates over the connection that the store hands in."""

from alembic import context
from sqlmodel import SQLModel

from bridge.store import paper_tables, tables  # noqa: F401 - the import registers the tables

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
