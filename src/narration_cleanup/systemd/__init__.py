"""The schedule: systemd units made from the settings, their installation, and their state.

`discover` finds the facts of an installation; `units` and `cron` make text of them (with
`sandbox_mounts`, `hardening`, `interval`, `quote`); `install` writes and enables; `status` reads
and formats. Nothing here runs a clean-up.
"""
