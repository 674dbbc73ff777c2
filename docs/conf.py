"""
The configuration of Sphinx for these pages, which C{scripts/docs} builds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "iodemo"
html_title = "iodemo"
html_theme = "furo"
html_show_copyright = False
exclude_patterns = ["_build", "measured"]
extensions = ["measured_numbers", "api_reference", "results_keys"]
