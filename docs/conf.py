"""
How Sphinx builds these pages: C{scripts/docs}.
"""

project = "iodemo"
html_title = "iodemo"
html_theme = "furo"
exclude_patterns = ["_build"]
