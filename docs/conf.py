"""Settings of the documentation site: ``make docs`` builds it with Sphinx into ``build/docs/html``; nothing is fetched.

Pages of engines, samples, instruments and physical values are written into ``docs/made`` by ``docs/site/made_pages.py`` before each build.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "site"))

import gallery_settings

import stemtwin

project = "stemtwin"
author = "stemtwin contributors"
project_copyright = "stemtwin contributors, BSD-3-Clause"
version = release = stemtwin.__version__

extensions = [
    "made_pages",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx_llms_txt",
]
smartquotes_action = "qe"  # no dashes: the texts name options such as --points
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["examples/*", "notebooks/*", "films/*", "gallery/*", "site/*", "**/sg_execution_times.rst", "sg_execution_times.rst"]
suppress_warnings = ["config.cache"]  # the gallery sorts by a class, which cannot be pickled

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
templates_path = ["site/templates"]
autodoc_typehints = "none"  # types stand in the sections of parameters
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
copybutton_prompt_text = "$ "

sphinx_gallery_conf = gallery_settings.SETTINGS

html_theme = "pydata_sphinx_theme"
html_title = "stemtwin"
html_theme_options = {"navbar_align": "left", "show_toc_level": 2, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]

llms_txt_title = "stemtwin"
llms_txt_summary = (
    "A digital twin of a scanning transmission electron microscope (STEM), Gymnasium environments in which agents run it, "
    "datasets with known truth, tasks with scorers, and a board that anybody can recompute."
)
llms_txt_exclude = ["made/gallery/*", "genindex", "search"]
