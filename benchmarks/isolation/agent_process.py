"""An agent in a separate process: start, messages, time limits, and stop.

One process serves the agent for a whole run, so the agent can learn from episode to episode. After a failure, the process is started again for the
next episode. Nothing that the agent sends is executed. Its error output is only shortened and displayed.
"""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.agents import AgentError, Brief
from stemtwin.benchmarks.isolation.sandbox import Level, Limits, check_level, confined_command, environment
from stemtwin.benchmarks.isolation.spaces import describe_space, received_action
from stemtwin.benchmarks.isolation.wire import LENGTH, PROTOCOL, WireError, pack, unpack
from stemtwin.twin.errors import SettingsError

TAIL = 4000
"""Number of characters at the end of the error output that are kept."""
HOST = "stemtwin.benchmarks.isolation.host"


def host_program(address: str) -> list[str]:
    """Return the command (a program and its arguments) that runs the class at an address ``package.module:Name`` as an agent."""
    return [sys.executable, "-P", "-m", HOST, address]


class AgentProcess:
    """Agent that runs in a separate process and follows the protocol of :mod:`stemtwin.benchmarks.isolation.wire`.

    Parameters
    ----------
    program : str or sequence of str
        Program and arguments; a text is split by the rules of a shell, but no shell runs it.
    folder : path
        Folder of the agent, in which its program starts and which the program is allowed to read.
    limits : Limits
        Limits of time and size.
    level : str, optional
        Level of isolation, ``"bubblewrap"`` or ``"process"``; None selects the strongest level that works on this system.

    Raises
    ------
    SettingsError
        The level does not work on this system, the folder does not exist, the program is empty, or the system is neither Linux nor macOS.
    """

    def __init__(self, program: str | Sequence[str], *, folder: Path | str = ".", limits: Limits | None = None, level: str | None = None) -> None:
        self.folder, self.limits = Path(folder).resolve(), limits or Limits()
        self.level: Level = check_level(level)
        if os.name != "posix":
            message = (
                f"Agents run in processes of their own on Linux and macOS only, not on {sys.platform!r}. "
                "For practice, run the agent in the scorer's process with --agent."
            )
            raise SettingsError(message)
        if not self.folder.is_dir():
            message = f"{self.folder}: the agent's folder does not exist. Name the folder that holds the agent's program."
            raise SettingsError(message)
        self.program = shlex.split(program) if isinstance(program, str) else list(program)
        self.command = confined_command(self.program, self.folder, self.limits, self.level)
        self.late, self.step, self.left_s = 0, 0, self.limits.episode_s
        self._acted: float | None = None
        self._process: Any = None  # a subprocess.Popen with its pipes, while one runs
        self._scratch: tempfile.TemporaryDirectory | None = None
        self._heard = b""
        self._told = bytearray()

    def reset(self, brief: Brief) -> None:
        """Start the process if it is not running, and send the brief of an episode to the agent.

        Raises
        ------
        AgentError
            The agent does not start, does not answer, or violates the protocol.
        """
        if self._process is None:
            self._start()
        else:
            self._pad()  # so the time since the last episode does not reveal how long this episode took to set up
        self.step, self.left_s, self._acted = 0, self.limits.episode_s, None
        self._space = brief.action_space
        briefing = {
            "type": "reset",
            "task": brief.task,
            "difficulty": brief.difficulty,
            "known": dict(brief.known),
            "seed": brief.seed.to_bytes(16),
            "observation_space": describe_space(brief.observation_space),
            "action_space": describe_space(brief.action_space),
        }
        self._send(briefing, self.limits.act_s)

    def act(self, observation: Any, cost: Any) -> Any:
        """Return the agent's next action.

        Raises
        ------
        AgentError
            The agent does not answer in time or violates the protocol, or its process has ended.
        """
        self._pad()
        budget = min(self.limits.act_s, self.left_s)
        began = time.monotonic()
        self._send({"type": "observe", "step": self.step, "observation": observation, "cost": dict(cost)}, budget)
        answer = self._receive(budget - (time.monotonic() - began), f"action {self.step}")
        self._acted = time.monotonic()
        self.left_s -= self._acted - began
        if answer["type"] != "act" or answer.get("step") != self.step or answer.keys() != {"type", "step", "action"}:
            told, right = ", ".join(map(repr, sorted(answer)))[:200], f"{{'type': 'act', 'step': {self.step}, 'action': ...}}"
            self._fail("protocol", f"it answered {answer['type']!r} with {told} to observation {self.step}; the answer must be {right}")
        self.step += 1
        return received_action(self._space, answer["action"])

    def end(self) -> None:
        """Tell the agent that the episode has ended, but not the result of the episode."""
        if self._process is None:
            return
        self._pad()
        with contextlib.suppress(AgentError):
            self._send({"type": "end", "step": self.step}, self.limits.act_s)
        self._acted = time.monotonic()

    def close(self) -> None:
        """Stop the process and all its children, and remove its scratch folder."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._reader.join(timeout=5)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> "AgentProcess":
        """Return the agent."""
        return self

    def __exit__(self, *args: object) -> None:
        """Stop the process."""
        self.close()

    @property
    def error_output(self) -> str:
        """Last characters of the error output of the process, without control characters."""
        text = bytes(self._told).decode(errors="replace")
        return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)[-TAIL:]

    def _start(self) -> None:
        """Start the process, and exchange the first messages."""
        self._heard, self._told = b"", bytearray()
        variables = environment(self.folder)
        if self.level == "process":
            self._scratch = tempfile.TemporaryDirectory(prefix="stemtwin-agent-")
            variables |= {"HOME": self._scratch.name, "TMPDIR": self._scratch.name}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(self.command, cwd=self.folder, env=variables, start_new_session=True, close_fds=True, bufsize=0, **pipes)
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)
        self._reader = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        hello = {"type": "hello", "protocol": PROTOCOL, "act_s": self.limits.act_s, "message_bytes": self.limits.message_bytes}
        self._send(hello, self.limits.start_s)
        answer = self._receive(self.limits.start_s, "its first message")
        if answer != {"type": "ready", "protocol": PROTOCOL}:
            self._fail("protocol", f"its first message is not {{'type': 'ready', 'protocol': {PROTOCOL!r}}}")

    def _listen(self, pipe: Any) -> None:
        """Keep the end of the error output."""
        with contextlib.suppress(OSError, ValueError), pipe:
            while part := pipe.read(1 << 16):
                self._told += part
                del self._told[: -4 * TAIL]

    def _pad(self) -> None:
        """Wait until ``pad_s`` has passed since the agent's last action or since the end of its last episode; count replies that are later."""
        if self._acted is None or not self.limits.pad_s:
            return
        left = self._acted + self.limits.pad_s - time.monotonic()
        self.late += left < 0
        time.sleep(max(left, 0.0))

    def _send(self, message: dict[str, Any], seconds: float) -> None:
        """Write a message within a time."""
        content, deadline = memoryview(pack(message)), time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdin, selectors.EVENT_WRITE)
            while content:
                if not selector.select(max(deadline - time.monotonic(), 0.0)):
                    self._fail("timed out", f"it did not read a message within {seconds:.3g} s")
                try:
                    content = content[os.write(self._process.stdin.fileno(), content) :]
                except BlockingIOError:
                    continue
                except OSError:
                    self._crashed()

    def _receive(self, seconds: float, what: str) -> dict[str, Any]:
        """Return the next message, within a time and a size."""
        deadline = time.monotonic() + seconds
        body = self._read(LENGTH.size, deadline, seconds, what)
        length = LENGTH.unpack(body)[0]
        if length > self.limits.message_bytes:
            self._fail("protocol", f"{what} has {length} bytes; at most {self.limits.message_bytes} are allowed")
        body = self._read(length, deadline, seconds, what)
        if self._heard:
            self._fail("protocol", f"it sent more than one message for {what}")
        try:
            return unpack(body)
        except WireError as error:
            self._fail("protocol", f"{what}: {error}")
            raise  # not reached

    def _read(self, count: int, deadline: float, seconds: float, what: str) -> bytes:
        """Return exactly ``count`` bytes."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while len(self._heard) < count:
                if not selector.select(max(deadline - time.monotonic(), 0.0)):
                    self._fail("timed out", f"{what} did not come within {seconds:.3g} s")
                try:
                    part = os.read(self._process.stdout.fileno(), min(1 << 20, self.limits.message_bytes + LENGTH.size))
                except BlockingIOError:
                    continue
                if not part:
                    self._crashed()
                self._heard += part
        out, self._heard = self._heard[:count], self._heard[count:]
        return out

    def _crashed(self) -> None:
        """Fail with the exit status and the end of the error output."""
        process = self._process
        try:
            status = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._fail("crashed", "it closed its pipe")
        self._reader.join(timeout=5)
        said = self.error_output.strip().rpartition("\n")[2]
        self._fail("crashed", f"its process ended with status {status}" + (f": {said[:300]}" if said else ""))

    def _fail(self, kind: str, text: str) -> None:
        """Stop the process and raise AgentError."""
        self.close()
        raise AgentError(kind, f"agent {shlex.join(self.program)[:200]!r}: {text.removesuffix('.')}.")
