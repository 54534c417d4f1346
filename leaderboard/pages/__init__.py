"""The board as static pages: no server, no script, nothing fetched. The folder ``templates`` has Jinja2 templates and the style sheet.

=============== =========================================================
File            Content
=============== =========================================================
``drawings.py`` intervals and Pareto pictures as SVG
``jury.py``     one printable page a team, and all numbers as CSV
``site.py``     all pages of a board, written into a folder
=============== =========================================================
"""
