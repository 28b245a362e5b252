"""Orders whose terms are changed while they work."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("replace", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("replaces", sa.SmallInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("terms_at", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.alter_column("replaces", server_default=None)
