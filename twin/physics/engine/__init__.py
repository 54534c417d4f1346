"""Solvers on arrays: multislice, the imaging operator, and what makes them fast."""
