"""Tasks, scorers, statistics and baselines.

======================== ===========================================================
File                     Content
======================== ===========================================================
``agents.py``            entries: predictors of answers, agents for environments
``archives.py``          submitted zip archives, unpacked within limits
``attempts.py``          repeated attempts at the same episodes
``column_network.py``    a small U-Net that finds atomic columns, run from an ONNX file
``comparisons.py``       paired differences of entries on the same specimens
``defect_network.py``    a small U-Net that finds and names defects, run from an ONNX file
``denoiser.py``          a small U-Net that denoises, run from an ONNX file
``discovery.py``         import of the modules of a package
``environment_pages.py`` pages of environments as Markdown
``episodes.py``          episodes of agents: playing, storage and replay
``error_bounds.py``      lower bounds on the Bayesian error of any method
``films.py``             films of episodes
``forge_choices.py``     choices of a policy that builds structures atom by atom
``header_text.py``       strict reader of headers in YAML
``honeypots.py``         unscored rows of a hidden split that reveal leaks of the truth
``instrument_tuning.py`` settings of a baseline, tuned on labelled images
``kept_runs.py``         stored runs of policies for the scale of returns
``kept_scores.py``       stored scores of baselines, and their tables
``matching.py``          one-to-one matching of detected and true points
``measured.py``          tasks on measured data that a user packed
``method_notes.py``      notes of a team on its method
``micrograph_fit.py``    fit of a crystal's cell to a micrograph
``micrograph_report.py`` tables and pictures of a micrograph beside the twin
``micrograph_twin.py``   a micrograph beside the twin at matched conditions
``minari_export.py``     export of offline data to Minari
``names.py``             accepted names of entries and teams
``offline_data.py``      episodes as Parquet for offline learning
``onnx_policy.py``       trained policies from ONNX files
``point_network.py``     networks that find points: input on a fixed grid, points from maps
``position_bound.py``    lower bounds on the errors of column positions
``readings.py``          electrons and noise of recorded frames
``replays.py``           replays of stored runs
``report.py``            the score report
``return_statistics.py`` means, intervals and paired differences of returns
``return_tables.py``     tables of returns in Markdown
``returns.py``           returns of policies on environments with a goal
``runner.py``            runs of entries, and their scores
``seed_keys.py``         secret keys of seeds
``sheet_lattices.py``    lattices of monolayers in images, and contrasts of their defects
``slices.py``            values per slice of the data
``statistics.py``        bootstrap intervals over clusters
``submission.py``        submission folders, checked and read
``submission_paths.py``  messages about files submitted instead of a folder
``task_pages.py``        pages of prediction tasks as Markdown
``task_pictures.py``     pictures of samples with their truth
``tasks.py``             the registry of tasks
``twin_answers.py``      answers of baselines to a micrograph and its simulated frame
``wavefront_bound.py``   lower bounds on the residual phase after correction
``answers/``             kinds of answers
``baselines/``           published methods that a submission is compared with
``families/``            the tasks, one module each
``isolation/``           agents in processes of their own
``metrics/``             metrics as formulas of additive sums
``training/``            training of networks, with torch
======================== ===========================================================
"""
