"""Secret keys from which the seeds of hidden episodes are derived.

Nobody can foresee these episodes, and anybody can check them once the keys are published. The hash of the keys is published before an
event (a competition), and the keys themselves after it. Then everybody can derive every seed and replay every episode.
"""

import dataclasses
import hashlib
import hmac
import json
import re
import secrets
from pathlib import Path

from stemtwin.twin import files
from stemtwin.twin.errors import SettingsError

SCHEMA = "stemtwin/keys@1"
BYTES = 32
HEXADECIMAL = re.compile(rf"[0-9a-f]{{{2 * BYTES}}}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SeedKeys:
    """Secret keys for the hidden episodes of an event (a competition).

    The keys for environments and for agents differ, so the seed given to an agent reveals nothing about the environment's seed.

    Parameters
    ----------
    environment, agent : str
        Keys of the seeds of environments and of agents, 64 hexadecimal digits each.
    nonce : str
        Salt of the commitment, 64 hexadecimal digits. It keeps even guessable keys hidden.

    Raises
    ------
    SettingsError
        A key is not 64 hexadecimal digits, or two keys are equal.
    """

    environment: str
    agent: str
    nonce: str

    def __post_init__(self) -> None:
        """Check the form of every key."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, str) and HEXADECIMAL.fullmatch(value)):
                message = f"Key {field.name!r} has {len(str(value))} characters; it must be {2 * BYTES} hexadecimal digits in lower case."
                raise SettingsError(message)
        if self.environment == self.agent:
            message = "The keys of environments and of agents are equal. Draw them with draw_keys()."
            raise SettingsError(message)

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return f"SeedKeys(commitment={self.commitment!r})"

    @property
    def commitment(self) -> str:
        """The sha256 of nonce and keys, which is published before the keys are."""
        return hashlib.sha256(bytes.fromhex(self.nonce + self.environment + self.agent)).hexdigest()


def draw_keys() -> SeedKeys:
    """Return new keys from the system's source of randomness."""
    return SeedKeys(**{field.name: secrets.token_hex(BYTES) for field in dataclasses.fields(SeedKeys)})


def seed_from(key: bytes, text: str) -> int:
    """Return a 128-bit seed: the first 16 bytes of HMAC-SHA256(key, text), big-endian. A search cannot find seeds of 128 bits."""
    return int.from_bytes(hmac.digest(key, text.encode(), "sha256")[:16])


def write_keys(path: Path | str, keys: SeedKeys) -> Path:
    """Write keys to a JSON file that only the present user is allowed to read, and return the path."""
    path = Path(path)
    content = {"schema": SCHEMA, **dataclasses.asdict(keys)}
    files.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    path.chmod(0o600)
    return path


def read_keys(path: Path | str) -> SeedKeys:
    """Return the keys that :func:`write_keys` wrote.

    Raises
    ------
    SettingsError
        The file does not contain keys.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        if schema != SCHEMA:
            message = f"its schema is {schema!r}, not {SCHEMA!r}"
            raise ValueError(message)
        return SeedKeys(**content)
    except SettingsError as error:
        message = f"{path}: {error}"
        raise SettingsError(message) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{path} does not contain keys ({error}). Give the keys.json that 'stemtwin event new' wrote."
        raise SettingsError(message) from None
