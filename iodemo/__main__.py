"""
C{python -m iodemo} is the C{iodemo} command.
"""

from iodemo.cli import run

if __name__ == "__main__":
    run()
