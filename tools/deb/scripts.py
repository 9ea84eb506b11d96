"""What Debian runs when the package is installed and removed, and the launcher in /usr/bin."""

LAUNCHER = """\
#!/usr/bin/python3 -I
# Only what the package brings, before what Debian has; nothing of the user's own Python.
import sys

sys.path.insert(0, "/usr/lib/narration-cleanup")

from narration_cleanup.__main__ import main

main()
"""

POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    # Now, by root: no other user can write it there, and each start would pay for it.
    python3 -I -m compileall -q /usr/lib/narration-cleanup >/dev/null 2>&1 || true
    [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
fi
"""

PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    # No timer starts a program that is gone; also those that `systemd install` made.
    systemctl list-units --all --plain --no-legend \\
        narration-cleanup.timer 'narration-cleanup@*.timer' |
    while read -r timer _; do
        systemctl --quiet disable --now "$timer" || true
    done
fi
if [ "$1" = remove ] || [ "$1" = upgrade ]; then
    find /usr/lib/narration-cleanup -depth -type d -name __pycache__ -exec rm -rf {} +
fi
"""

POSTRM = """\
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    # What the program made: the history of system runs, the units that it wrote, systemd's notes
    # on them, the copies of the alerts' settings. What the user made stays: configuration,
    # credentials, drop-ins, caches, databases.
    rm -rf /var/lib/narration-cleanup /etc/narration-cleanup/notify /etc/narration-cleanup/notify@*
    rm -f /var/lib/systemd/timers/stamp-narration-cleanup.timer \\
        /var/lib/systemd/timers/stamp-narration-cleanup@*.timer \\
        /etc/systemd/system/timers.target.wants/narration-cleanup.timer \\
        /etc/systemd/system/timers.target.wants/narration-cleanup@*.timer
    for unit in /etc/systemd/system/narration-cleanup*; do
        if [ -f "$unit" ] && head -n 1 "$unit" | grep -q '^# Written by `narration-cleanup '; then
            rm -f "$unit"
        fi
    done
fi
if [ "$1" = remove ] || [ "$1" = purge ]; then
    [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
fi
"""
