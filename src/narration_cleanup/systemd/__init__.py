"""The schedule: systemd units made from the settings, their installation, and what systemd says.

`units` and `interval` are pure (facts in, text out), `facts` finds the facts, `install` writes
and enables, `status` reads. Nothing here runs a clean-up.
"""
