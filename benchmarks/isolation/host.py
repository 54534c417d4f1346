"""Program that runs in the agent's process and serves a Python class: ``python -m stemtwin.benchmarks.isolation.host package.module:Name``.

Printed output of the class goes to standard error, so it cannot be mistaken for a message.
"""

import os
import sys
from typing import Any, BinaryIO

from stemtwin.benchmarks.agents import Baseline, Brief, find_baseline, load_entry_point, make_entry
from stemtwin.benchmarks.isolation.spaces import build_space
from stemtwin.benchmarks.isolation.wire import LENGTH, PROTOCOL, pack, unpack


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """Return the next message of a stream, or None at the end of the stream."""
    head = stream.read(LENGTH.size)
    return unpack(stream.read(LENGTH.unpack(head)[0])) if len(head) == LENGTH.size else None


def find_entry(address: str) -> Baseline:
    """Return the entry at an address, which is ``package.module:Name`` for a class or ``baseline:TASK/NAME`` for a baseline."""
    kind, _, name = address.partition(":")
    if kind == "baseline":
        return find_baseline(*name.rsplit("/", 1))
    return Baseline(task="", name=address, text="", factory=load_entry_point(address))


def serve(agent: Any, heard: BinaryIO, said: BinaryIO) -> None:
    """Answer the messages of the runner until the stream ends.

    Parameters
    ----------
    agent : Agent
        An agent with ``reset(brief)`` and ``act(observation, cost)``.
    heard, said : binary streams
        Streams of the messages from the runner, and of the messages to the runner.
    """
    while (message := read_message(heard)) is not None:
        kind = message["type"]
        if kind == "hello":
            said.write(pack({"type": "ready", "protocol": PROTOCOL}))
        elif kind == "reset":
            spaces: dict[str, Any] = {name: build_space(message[name]) for name in ("observation_space", "action_space")}
            told = {"task": message["task"], "difficulty": message["difficulty"], "seed": int.from_bytes(message["seed"])}
            agent.reset(Brief(**told, known=message.get("known", {}), **spaces))  # older runners do not send known numbers
        elif kind == "observe":
            action = agent.act(message["observation"], message["cost"])
            said.write(pack({"type": "act", "step": message["step"], "action": action}))
        said.flush()


def main() -> None:
    """Run the agent whose address is the first argument, with messages over standard input and output."""
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    agent = make_entry(find_entry(sys.argv[1]), "agent")
    serve(agent, sys.stdin.buffer, said)


if __name__ == "__main__":
    main()
