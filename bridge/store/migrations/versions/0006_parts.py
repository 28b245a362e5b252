"""Orders that are parts of one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("part", sa.SmallInteger(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("parts", sa.SmallInteger(), nullable=False, server_default="1"))
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.alter_column("part", server_default=None)
        batch_op.alter_column("parts", server_default=None)
