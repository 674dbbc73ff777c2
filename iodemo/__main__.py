"""
C{python -m iodemo} is the C{iodemo} command.
"""

from iodemo.cli import main

if __name__ == "__main__":
    main()
