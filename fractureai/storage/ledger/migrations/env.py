"""Alembic's way in: it runs on the connection and in the transaction of ``fractureai.storage.ledger.migrate``."""

from alembic import context

from fractureai.storage.ledger.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
