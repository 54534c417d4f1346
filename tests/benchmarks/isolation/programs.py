"""Programs of agents for the tests: each is a Python text that speaks the protocol by struct and msgpack alone, and does something wrong."""

from pathlib import Path

SPEAK = """
import os, struct, sys, time, msgpack
heard, said = sys.stdin.buffer, sys.stdout.buffer
def send(message):
    body = msgpack.packb(message)
    said.write(struct.pack(">I", len(body)) + body)
    said.flush()
def receive():
    head = heard.read(4)
    if len(head) < 4:
        sys.exit()
    return msgpack.unpackb(heard.read(struct.unpack(">I", head)[0]), ext_hook=lambda code, content: None, strict_map_key=False)
"""
FOLLOW = """
{first}
while True:
    message = receive()
    if message["type"] == "hello":
        send({{"type": "ready", "protocol": message["protocol"]}})
    if message["type"] == "reset":
        {reset}
    if message["type"] == "observe":
        step = message["step"]
        action = [0.1, 0.0, 0.0]
        {act}
        send({{"type": "act", "step": step, "action": action}})
"""


def program(folder: Path, *, first: str = "", reset: str = "pass", act: str = "pass") -> list[str]:
    """Write an agent into a folder and return its program.

    Parameters
    ----------
    folder : Path
        Where it is written as agent.py.
    first, reset, act : str
        Statements at its start, at a briefing and before an answer.
    """
    (folder / "agent.py").write_text(SPEAK + FOLLOW.format(first=first, reset=reset, act=act), encoding="utf-8")
    return ["python", "agent.py"]
