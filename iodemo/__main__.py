"""
The C{iodemo} command, which C{python -m iodemo} is too.
"""

import sys


def main() -> None:
    """
    Run it. To import its parts takes a moment, in which SIGINT ends it in one line.
    """
    try:
        from iodemo.cli.main import run

        run()
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(130)  # as a shell has it for a command that SIGINT ended


if __name__ == "__main__":
    main()
