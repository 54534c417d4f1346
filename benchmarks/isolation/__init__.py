"""Isolation of agents from the truth: processes of their own that speak a small protocol over a pipe.

==================== ==============================================================================
File                 Content
==================== ==============================================================================
``agent_process.py`` an agent in a process of its own, with limits on time and size
``host.py``          the agent's side for a Python class: ``python -m ... package.module:Name``
``sandbox.py``       command lines of confined processes, and what each level of isolation leaves open
``spaces.py``        Gymnasium spaces as plain values
``wire.py``          messages: length-prefixed msgpack, arrays as npy without pickle
==================== ==============================================================================
"""
