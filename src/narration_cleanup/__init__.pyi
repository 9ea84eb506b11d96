from narration_cleanup.run.api import (
    BusyError,
    CleanupError,
    ConfigError,
    RefusedError,
    Settings,
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
    "load_settings",
    "plan",
    "run",
    "stats",
]
