"""Holds know their numbers, and who has accepted them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to this revision."""

    with op.batch_alter_table("holds", schema=None) as batch_op:
        # A hold from before has no numbers: the next comparison finds them and tells it anew.
        batch_op.add_column(sa.Column("gaps", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("accepted_by", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.alter_column("gaps", server_default=None)
        batch_op.alter_column("accepted_by", server_default=None)
