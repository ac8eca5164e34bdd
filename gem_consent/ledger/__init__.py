"""The append-only ledger: its schema, its store, its export and its figures."""
