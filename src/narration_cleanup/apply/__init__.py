"""The only phase that changes anything: applies a plan, and records an outcome for each action."""
