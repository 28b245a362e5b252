"""Orders say their variety: in legs, for the next session, for so many minutes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.add_column(sa.Column("variety", sa.Text(), nullable=False, server_default="regular"))
        batch_op.add_column(sa.Column("iceberg_legs", sa.SmallInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("validity_minutes", sa.SmallInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.alter_column("variety", server_default=None)
        batch_op.alter_column("iceberg_legs", server_default=None)
        batch_op.alter_column("validity_minutes", server_default=None)
