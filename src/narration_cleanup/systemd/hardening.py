"""What the units take away from the process they run, where that depends on nothing else.

Scores are those of `systemd-analyze security --offline=true` (0 is best, 10 worst).
"""

from __future__ import annotations

_COMMON: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "KeyringMode=private",
    "NotifyAccess=none",
)
_READABLE = ("# The notify unit reads the history by the group.", "UMask=0027")
_SYSCALLS: tuple[str, ...] = (
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources @setuid @chown @keyring @memlock @mount @debug",
    "# Refused calls are errors that can be handled and reported, not a sudden death.",
    "SystemCallErrorNumber=EPERM",
)
RUN: tuple[str, ...] = (
    *_COMMON,
    *_READABLE,
    "ProcSubset=pid",
    "PrivateNetwork=yes",
    "RestrictAddressFamilies=none",
    "IPAddressDeny=any",
    *_SYSCALLS,
)
"""The run unit: files in, files out."""

RUN_NETWORK: tuple[str, ...] = (
    *_COMMON,
    *_READABLE,
    "ProcSubset=pid",
    "# The database or the cache is elsewhere.",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    *_SYSCALLS,
)
"""The run unit where a bucket or a database server has to be reached."""

NOTIFY: tuple[str, ...] = (
    "ProtectSystem=strict",
    *_COMMON,
    "UMask=0077",
    "ProcSubset=pid",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    *_SYSCALLS,
)
"""The notify unit: the network, the journal, and nothing of the data."""

USER_MANAGER: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "PrivateUsers=yes",
    "PrivateTmp=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "UMask=0077",
    *_SYSCALLS,
)
"""The run unit in a user's own manager, which can take away less."""
