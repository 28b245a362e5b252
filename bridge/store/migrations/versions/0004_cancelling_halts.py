"""A halt may also want resting entries cancelled."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    with op.batch_alter_table("trading_states", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cancels", sa.SmallInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("trading_states", schema=None) as batch_op:
        batch_op.alter_column("cancels", server_default=None)
