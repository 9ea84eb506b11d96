"""The program's door: `narration-cleanup` and `python -m narration_cleanup`."""

from narration_cleanup.cli import app


def main() -> None:
    """Run the command line with the process's own arguments; ends by raising SystemExit."""
    app.main()


if __name__ == "__main__":
    main()
