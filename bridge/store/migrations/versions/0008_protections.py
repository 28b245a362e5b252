"""Protective orders: what rests at the broker for a position, and what an entry wants to have rest."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    op.create_table(
        "protections",
        sa.Column("protection_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("protect", sa.Text(), nullable=False),
        sa.Column("entry_px", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("leg", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("orders", sa.SmallInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("protection_id"),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("protect", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("legs", sa.Text(), nullable=True))
    op.create_index(
        "orders_protective",
        "orders",
        ["updated_at"],
        unique=False,
        sqlite_where=sa.text("legs IS NOT NULL"),
        postgresql_where=sa.text("legs IS NOT NULL"),
    )
    with op.batch_alter_table("paper_orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("legs", sa.Text(), nullable=True))
