"""Everything that golden cases import besides public names: when a module moves, only this file changes."""

from stemtwin.benchmarks.runner import Evaluation, evaluate
from stemtwin.benchmarks.tasks import find_task
from stemtwin.leaderboard.cli.main import main as command
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector, expected_edx, expected_eels
from stemtwin.twin.physics.dynamics.contamination import Contamination

__all__ = [
    "Contamination",
    "Damage",
    "EDXDetector",
    "EELSDetector",
    "Evaluation",
    "command",
    "evaluate",
    "expected_edx",
    "expected_eels",
    "find_task",
]
