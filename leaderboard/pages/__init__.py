"""The board as static pages, which need no server, script or network. The folder ``templates`` contains Jinja2 templates and the style sheet.

=============== =========================================================
File            Content
=============== =========================================================
``drawings.py`` intervals and Pareto plots as SVG
``jury.py``     one printable page per team, and all numbers as CSV
``site.py``     all pages of a board, written to a folder
=============== =========================================================
"""
