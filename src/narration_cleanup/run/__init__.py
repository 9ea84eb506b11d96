"""Wires the phases of one run: lock, recover, plan, guard, apply, verify, record."""
