"""Tasks, scorers, statistics and baselines.

======================== ===========================================================
File                     Content
======================== ===========================================================
``agents.py``            entries: predictors of answers, agents for environments
``archives.py``          zip archives that are handed in, unpacked with limits
``attempts.py``          repeated attempts at the same episodes
``comparisons.py``       differences of entries on the same specimens
``denoiser.py``          a small U-Net that denoises, played from an ONNX file
``denoiser_training.py`` its training
``discovery.py``         import of the modules of a package
``environment_pages.py`` pages of environments as Markdown
``episodes.py``          episodes of agents: played, kept, replayed
``films.py``             films of episodes
``forge_choices.py``     choices of a policy that makes structures atom by atom
``forge_learning.py``    its training: imitation of the planner, then PPO
``header_text.py``       headers in YAML, read with suspicion
``honeypots.py``         rows of a hidden split that nobody can answer
``instrument_tuning.py`` settings of a baseline from labelled images of an instrument
``kept_runs.py``         runs of policies on the scale, kept and replayed
``kept_scores.py``       scores of baselines: measured, kept, shown
``learner.py``           training of a policy by Stable-Baselines3
``matching.py``          one-to-one matching of detected and true points
``measured.py``          tasks on measured data that a user packed
``method_notes.py``      notes of a team on its method
``micrograph_fit.py``    fit of a crystal's cell to a micrograph
``micrograph_report.py`` tables and pictures of a micrograph beside the twin
``micrograph_twin.py``   a micrograph beside the twin at matched conditions
``minari_export.py``     offline data in Minari's form
``names.py``             names of entries and teams that can be shown
``offline_data.py``      episodes as Parquet for offline learning
``onnx_policy.py``       play of trained policies from ONNX files
``replays.py``           replays of kept runs
``report.py``            the score report
``return_statistics.py`` means, intervals and paired differences of returns
``return_tables.py``     tables of returns in Markdown
``returns.py``           returns of policies on environments with a goal
``runner.py``            runs of entries, and their scores
``seed_keys.py``         secret keys of seeds
``slices.py``            values per slice of the data
``statistics.py``        bootstrap intervals over clusters
``submission.py``        submission folders, checked and read
``submission_paths.py``  sentences about what is handed in instead of a folder
``task_pages.py``        pages of prediction tasks as Markdown
``task_pictures.py``     pictures of samples with their truth
``tasks.py``             the registry of tasks
``twin_answers.py``      answers of baselines to a micrograph and to the twin's frame
``wavefront_bound.py``   least phase that estimates of aberrations leave
``answers/``             kinds of answers
``baselines/``           published methods that a submission is compared with
``families/``            the tasks, one module each
``isolation/``           agents in processes of their own
``metrics/``             metrics as formulas of additive sums
======================== ===========================================================
"""
