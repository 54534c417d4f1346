"""Tasks, scorers, statistics and baselines."""
