"""Settings: what they are (`SETTINGS`), and how they are read (`load_settings`)."""

from narration_cleanup.settings.definitions import (
    AlertsSettings,
    CacheSettings,
    CleanupSettings,
    ColumnSettings,
    FieldSettings,
    HistorySettings,
    MetricsSettings,
    RequestSettings,
    StatusSettings,
)
from narration_cleanup.settings.load import (
    history_elsewhere,
    load_from_tables,
    load_partial,
    load_settings,
    require_target,
)
from narration_cleanup.settings.parsers import DeleteLimit
from narration_cleanup.settings.setting import Setting
from narration_cleanup.settings.types import BY_NAME, SETTINGS, Origin, Settings

__all__ = [
    "BY_NAME",
    "SETTINGS",
    "AlertsSettings",
    "CacheSettings",
    "CleanupSettings",
    "ColumnSettings",
    "DeleteLimit",
    "FieldSettings",
    "HistorySettings",
    "MetricsSettings",
    "Origin",
    "RequestSettings",
    "Setting",
    "Settings",
    "StatusSettings",
    "history_elsewhere",
    "load_from_tables",
    "load_partial",
    "load_settings",
    "require_target",
]
