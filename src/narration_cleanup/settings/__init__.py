"""Settings: what they are (`SETTINGS`), and how they are read (`load_settings`)."""

from narration_cleanup.settings.definitions import AlertsSettings as AlertsSettings
from narration_cleanup.settings.definitions import CacheSettings as CacheSettings
from narration_cleanup.settings.definitions import CleanupSettings as CleanupSettings
from narration_cleanup.settings.definitions import RequestSettings as RequestSettings
from narration_cleanup.settings.load import history_elsewhere as history_elsewhere
from narration_cleanup.settings.load import load_from_tables as load_from_tables
from narration_cleanup.settings.load import load_partial as load_partial
from narration_cleanup.settings.load import load_settings as load_settings
from narration_cleanup.settings.load import require_target as require_target
from narration_cleanup.settings.parsers import DeleteLimit as DeleteLimit
from narration_cleanup.settings.setting import Setting as Setting
from narration_cleanup.settings.types import BY_NAME as BY_NAME
from narration_cleanup.settings.types import SETTINGS as SETTINGS
from narration_cleanup.settings.types import Settings as Settings
