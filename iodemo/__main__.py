"""
The C{iodemo} command, also as C{python -m iodemo}.
"""

import sys


def main() -> None:
    """
    Run the command. Its modules are imported here, so that a SIGINT during the import
    prints one line instead of a traceback, and so does a missing package: an
    installation that only serves has none of those that the command needs.
    """
    try:
        from iodemo.cli.main import run

        run()
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "iodemo":
            raise
        sys.exit(f"iodemo: the command needs {missing}: pip install 'iodemo[lab]'")
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        sys.exit(130)  # 128 + SIGINT, as a shell reports it


if __name__ == "__main__":
    main()
