"""Metrics: formulas of sums of per-sample statistics, found because their modules are here.

================= ==========================================================
File              Content
================= ==========================================================
``detection.py``  precision, recall, F1 and distance of matched points
``metric.py``     a metric, the registry of metrics, and common formulas
================= ==========================================================
"""
