"""Events: a hackathon as a folder, from its settings to an archive from which anybody can compute every rank again.

====================  ============================================================================
File                  Content
====================  ============================================================================
``archive.py``        the end of an event: keys are revealed, everything is packed
``bundle.py``         sealed bundles, which open with a key
``creation.py``       new events, and the bundle's content
``event_pages.py``    the event's page, guide and workflows
``folders.py``        the public and the secret folder
``hidden_tasks.py``   hidden rows and seeds of tasks
``inbox.py``          submissions that are handed in
``jury.py``           checks between teams, pages for the jury
``log.py``            the signed log
``moderation.py``     freeze, withdraw, disqualify, correct
``scoring.py``        scoring of everything that was handed in
``settings.py``       ``event.toml``
``signing.py``        canonical JSON, hashes, signatures
``standings.py``      valid and counting scores, the signed state of the board
``submissions.py``    submissions, known by their content
``team_side.py``      what teams do: predict, check
``verification.py``   verification of an archive
====================  ============================================================================
"""
