"""Settings of the documentation site, which `make docs` builds."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "galaxy_da"
author = "The galaxy_da developers"
copyright = author
release = installed_version("galaxy_da")
version = release.partition(".dev")[0]

extensions = [
    "generators.links",
    "generators.surveys",
    "generators.tutorials",
    "generators.verbs",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "generators", "**.ipynb_checkpoints"]
smartquotes = False  # options such as --json have two hyphens
default_role = "py:obj"

# Pages of Markdown and notebooks. Notebooks are shown from the outputs that they hold.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # they would be loaded from the network
nb_merge_streams = True

# The API, from docstrings.
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_default_options = {
    "members": True,
    "inherited-members": False,
    "exclude-members": "set",  # matplotlib gives one to every subclass of its classes
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "galaxy_da"
html_static_path = ["_static"]
html_css_files = ["galaxy_da.css"]
html_favicon = "../galaxy_da/page/icon.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "galaxy_da"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_prev_next": False,
    "navigation_depth": 1,  # the theme's buttons that unfold branches have no name
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
