"""Gymnasium environments: tasks that an agent practises on the twin.

===================== =====================================================
File                  Content
===================== =====================================================
``autofocus.py``      ``stemtwin/Autofocus-v1``
``focus_limits.py``   limits of the focusing task
``functional_env.py`` the Task protocol, the registry of tasks, ``StemEnv``
``microscope.py``     ``stemtwin/Microscope-v1``
``pictures.py``       pictures of environment states
``rewards.py``        rewards in [0, 1], ``REWARDS`` by name
===================== =====================================================
"""

ENVIRONMENTS = {
    "stemtwin/Autofocus-v1": "stemtwin.twin.envs.autofocus:make",
    "stemtwin/Microscope-v1": "stemtwin.twin.envs.microscope:make",
}
"""Every environment: Gymnasium id -> entry point."""


def register() -> None:
    """Register every environment with Gymnasium; strings only, so that nothing is imported before it is made."""
    import gymnasium

    for name, entry_point in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=entry_point)
