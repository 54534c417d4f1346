"""Events: a hackathon as a folder, from its settings to an archive from which every rank can be recomputed.

====================  ============================================================================
File                  Content
====================  ============================================================================
``archive.py``        end of an event: revealed keys and the archive
``bundle.py``         encrypted bundles and their keys
``creation.py``       new events and the contents of their bundles
``event_pages.py``    the event's page and its server, guide and workflows
``folders.py``        the public and the secret folder
``hidden_tasks.py``   hidden rows and seeds of tasks
``inbox.py``          checked copies of submissions to an event
``jury.py``           comparison of teams, pages for the jury
``log.py``            the signed log
``moderation.py``     freeze, withdraw, disqualify, correct
``scoring.py``        scoring of submissions
``settings.py``       ``event.toml``
``signing.py``        canonical JSON, hashes, signatures
``standings.py``      valid scores, scores that count, signed state of the board
``submissions.py``    submissions and their content hashes
``team_side.py``      commands of teams: predict, check
``verification.py``   verification of an archive
====================  ============================================================================
"""
