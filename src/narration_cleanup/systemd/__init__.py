"""The schedule: systemd units made from the settings, their installation, and what systemd says.

`facts` finds the facts about this `installation`; from them `units` (with `places`, `hardening`,
`interval` and `quote`) and `cron` make text; `install` writes and enables; `status` reads and
`show` tells. Nothing here runs a clean-up.
"""
