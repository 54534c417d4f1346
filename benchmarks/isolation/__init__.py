"""Isolation of agents from the truth: each agent runs in a separate process and exchanges messages with the runner over pipes.

==================== ==============================================================================
File                 Content
==================== ==============================================================================
``agent_process.py`` an agent in a separate process, with limits on time and size
``host.py``          the program in the agent's process that serves a Python class
``sandbox.py``       command lines of confined processes, and the gaps of each level of isolation
``spaces.py``        Gymnasium spaces as plain values
``wire.py``          messages: length-prefixed msgpack, arrays as npy without pickle
==================== ==============================================================================
"""
