"""Settings of the gallery: scripts of ``docs/gallery`` run at every build and leave their pictures on the site."""

from pathlib import Path

from sphinx_gallery.sorting import FileNameSortKey

DOCS = Path(__file__).resolve().parent.parent

SETTINGS = {
    "examples_dirs": str(DOCS / "gallery"),
    "gallery_dirs": "made/gallery",
    "filename_pattern": "/",
    "within_subsection_order": FileNameSortKey,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "capture_repr": (),  # no values of last lines, such as the texts of axes
    "show_memory": False,
    "min_reported_time": 1e9,
}
