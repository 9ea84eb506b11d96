"""A request table in SQLite, used beside the service that owns it."""
