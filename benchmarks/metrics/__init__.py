"""Metrics: formulas applied to sums of per-sample statistics; every module of this package is imported automatically.

================== ============================================================
File               Content
================== ============================================================
``detection.py``   precision, recall, F1 and distance of matched points
``experiments.py`` successes, declared ends and dose of agents
``metric.py``      a metric, the registry of metrics, and common formulas
``ranked.py``      average precision, efficiency against a bound
``restoration.py`` error, structure, resolution and deviance of images
``scan_fields.py`` error, strain and unit-cell jumps of displacement fields
``vacancies.py``   false atoms at vacancies, missing atoms at intact columns
``wavefront.py``   phase, Strehl ratio, aperture and calibration of aberrations
================== ============================================================
"""
