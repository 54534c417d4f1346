"""Generators of datasets: one file for each kind, found by its ``@generator`` decorator.

===================== ==========================================================="""
