from narration_cleanup.run.api import (
    BusyError,
    CleanupError,
    ConfigError,
    RefusedError,
    Settings,
    explain,
    load_settings,
    plan,
    run,
    stats,
)

__version__: str
__all__ = [
    "BusyError",
    "CleanupError",
    "ConfigError",
    "RefusedError",
    "Settings",
    "__version__",
    "explain",
    "load_settings",
    "plan",
    "run",
    "stats",
]
