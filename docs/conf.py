"""
The configuration of Sphinx for these pages, which C{scripts/docs} builds.

C{:py:obj:`iodemo.models`} links into the API reference, by the inventory that pydoctor
has made before. A name that is not there is an error.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "iodemo"
html_title = "iodemo"
html_theme = "furo"
html_show_copyright = False
exclude_patterns = ["_build", "measured"]
extensions = ["measured_numbers", "results_keys", "sphinx.ext.intersphinx"]
nitpicky = True


def setup(app: Sphinx) -> None:
    """
    Configure intersphinx; Sphinx calls this.
    """
    inventory = Path(app.outdir) / "api" / "objects.inv"
    app.config.intersphinx_mapping = {"api": ("api", str(inventory))}
