"""Tasks, scorers, statistics and baselines.

==================== ===========================================================
File                 Content
==================== ===========================================================
``agents.py``        entries: detectors for predictions, agents for environments
``atoms.py``         the task ``atoms-2d``
``comparisons.py``   paired differences of entries, and their order
``episodes.py``      episodes of agents: played, kept, replayed
``focus.py``         the task ``autofocus``, version 1
``focus_v2.py``      the task ``autofocus@2``
``hypothesis.py``    the task ``hypothesis-test``
``learner.py``       training of a policy, and its play from an ONNX file
``matching.py``      one-to-one matching of detected and true points
``metrics.py``       metrics as formulas of additive sums
``minari_export.py`` offline data in Minari's form
``names.py``         names of entries and teams
``offline_data.py``  episodes as Parquet for offline learning
``report.py``        the score report
``returns.py``       returns of policies on environments with a goal
``runner.py``        runs of entries, and their scores
``slices.py``        values per slice of the data
``statistics.py``    bootstrap intervals over clusters
``submission.py``    submission folders, checked and read
``tasks.py``         the registry of tasks
``baselines/``       published methods that a submission is compared with
==================== ===========================================================
"""
