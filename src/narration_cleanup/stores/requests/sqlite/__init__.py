"""A request table in SQLite, shared with the service that owns it."""
