"""The client in the documentation: it runs with numpy and msgpack alone, and plays an episode."""

import importlib.util
import re
from pathlib import Path

from stemtwin.benchmarks.agents import Baseline
from stemtwin.benchmarks.episodes import TaskEnvironments, run_episode
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.isolation.sandbox import Limits
from stemtwin.benchmarks.tasks import find_task

PAGE = Path(__file__).resolve().parents[3] / "docs" / "agents.md"
ALONE = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path and not path.endswith("stemtwin")] + [{libraries!r}]
sys.path = [path for path in sys.path if not path.startswith({root!r})]
try:
    import stemtwin
    sys.exit("stemtwin is here")
except ModuleNotFoundError:
    exec(open("agent.py").read())
"""


def test_the_client_of_the_page_plays_where_stemtwin_is_not_installed(tmp_path: Path) -> None:
    """The page's program has at most 40 lines and plays whole episodes in an interpreter that has numpy and msgpack only."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len(code.splitlines()) <= 40
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("numpy", "numpy.libs", "msgpack"):
        found = importlib.util.find_spec(name.partition(".")[0])
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent.with_name(name)
        if folder.exists():
            (libraries / name).symlink_to(folder)
    (tmp_path / "agent.py").write_text(code, encoding="utf-8")
    (tmp_path / "alone.py").write_text(ALONE.format(libraries=str(libraries), root=str(PAGE.parents[1])), encoding="utf-8")
    task = find_task("hypothesis-test")
    environments = TaskEnvironments(task)
    with AgentProcess(["python", "-S", "-E", "alone.py"], folder=tmp_path, limits=Limits(start_s=30), level="process") as agent:
        entry = Baseline(task=task.name, name="client", text="", factory=lambda: agent)
        played = [run_episode(task, entry, agent, environments.of_episode(one), split="public", number=one, count_failures=True) for one in range(2)]
    assert [one.failure_text for one in played] == ["", ""]
    assert all(len(one.actions) > 0 for one in played)
