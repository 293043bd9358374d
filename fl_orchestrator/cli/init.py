"""`flo init`: write a site's settings file with comments, for the user to complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from fl_orchestrator.cli import config
from fl_orchestrator.cli.console import safe, say
from fl_orchestrator.errors import InputError
from fl_orchestrator.json_text import to_json

_SHARED: Final = """\
# The settings of this site, for every `flo` command that runs in this directory (or with
# --config FILE). Precedence: an option of the command, an environment variable (for example
# FLO_RPC), this file. Paths are relative to this file. Lines that begin with # are comments.

# The chain's JSON-RPC endpoints. If one fails, the next one is used.
rpc = ["http://127.0.0.1:8545"]
# Refuse an endpoint of any other chain. The federation's owner can tell you its id.
#chain-id = 31337
# The federation's contract. Compare it with the address that its owner published.
#federation = "0x0000000000000000000000000000000000000000"
# Where `flo federation create` stores its record: for the owner, instead of `federation`.
#deployments = "deployments"

# This role's account: `flo keys new key.json`. The password is typed, or read from a file that only
# this role can read.
key = "key.json"
#password-file = "password"

# Private files: updates that are committed but not revealed yet, the models, the lock.
home = "home"
# If several roles run on this machine, they may share a directory on the same file system, so that
# each model and update is on its disk once.
#cache = "../cache"
# Models and updates: a directory (file:///absolute/path, or file: and a path that is relative to
# this file), or an IPFS node, kubo+http://127.0.0.1:5001.
store = "file:store"
# HTTP gateways to fetch content from that the store does not have.
#gateways = ["https://ipfs.example.org"]

# The most to pay for a unit of gas, in gwei; the most to pay for gas in a day, and the most to put
# into stake and bonds in a day, in ETH.
#max-fee = 50
#daily-cap = 0.1
#daily-deposit = 1
# How many blocks must follow a block before it counts. 0 is for a chain without reorgs.
#confirmations = 0

# Serve metrics for Prometheus, and the state of the process (/healthz).
#metrics = "127.0.0.1:9100"
#log-format = "json"
"""

_ROLES: Final = {
    "party": """\

[party]
# Your own code: a function that returns a trainer. See `flo party check`.
trainer = "my_trainer.py:make_trainer"
# A keeper's relay: then this site needs only outbound HTTPS, and no coin for gas.
#relay = "https://relay.example.org"
# In a private federation: the aggregators that this site trusts. It sits out if the others could
# together read its update. Give two endpoints with `rpc` above, which must show the same.
#trust = ["0x0000000000000000000000000000000000000000"]
# A global model that is worse on this site's own validation data raises an alert and is not
# adopted.
#alert-below = "accuracy=0.7"
#alert-above = "loss=1.0"
# The last good model. Default: current.safetensors in this role's directory below `home`.
#current = "current.safetensors"
""",
    "aggregator": """\

[aggregator]
# An aggregator needs a key of its own if another role uses the key above.
#key = "aggregator.json"
# In a private federation: the file of its encryption keys and locks. Leave it out of backups.
#encryption = "encryption.sqlite"
# A keeper's relay, by which aggregators also tell each other what they confirm and release.
#relay = "https://relay.example.org"
""",
    "watcher": """\

[watcher]
#key = "watcher.json"
# The largest bond for one demand, in ETH. It is refunded if the model was wrong.
#max-bond = 1
""",
    "keeper": """\

[keeper]
#key = "keeper.json"
# Accept messages and updates from parties that are behind a firewall.
#relay = "127.0.0.1:8600"
""",
}


def init(
    file: Annotated[Path, typer.Argument(help="The settings file to write.")] = config.FILE,
    role: Annotated[str, typer.Option(help="party, aggregator, watcher or keeper.")] = "party",
) -> None:
    """Write a settings file with comments, to be completed. An existing one is never overwritten.

    Example: flo init --role party
    """
    if role not in _ROLES:
        raise InputError(f"There is no role {role!r}.", f"Use {', '.join(_ROLES)}.")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(settings_text(role))
    except FileExistsError as error:
        raise InputError(
            f"{file} exists already and was not changed.", "Give another FILE."
        ) from error
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}.", "Check its directory."
        ) from error
    say(f"{safe(file)} is written. Complete it, then run `flo keys new key.json`.")


def settings_text(role: str, values: Mapping[str, str | int | list[str]] | None = None) -> str:
    """The commented settings of a role (one of `config.ROLES`), with values for some of its keys.

    Raises KeyError for a key that the settings of this role do not have.
    """
    text = _SHARED + _ROLES[role]
    for key, value in (values or {}).items():
        # A JSON text or number is one of TOML, if no character is written as two surrogates.
        line = f"{key} = {to_json(value, ensure_ascii=False)}"
        place = re.search(rf"^#?{re.escape(key)} = .*$", text, re.MULTILINE)
        if place is None:
            raise KeyError(key)
        text = text[: place.start()] + line + text[place.end() :]
    return text
