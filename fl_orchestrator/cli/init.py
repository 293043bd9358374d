"""`flo init`: a site's settings file, to be filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from fl_orchestrator.cli import config
from fl_orchestrator.cli.console import safe, say
from fl_orchestrator.errors import InputError

_SHARED: Final = """\
# The settings of this site, for every `flo` command that is typed in this directory (or with
# --config FILE). An option of a command comes first, then an environment variable (FLO_RPC, say),
# then this file. Paths are relative to this file. Lines that begin with # are off.

# The chain. Several endpoints stand in for one another.
rpc = ["http://127.0.0.1:8545"]
# Refuse an endpoint of any other chain; whoever runs the federation knows its number.
#chain-id = 31337
# The federation's contract. Compare it with what its owner published.
#federation = "0x0000000000000000000000000000000000000000"
# Where `flo federation create` keeps its record: for the owner, instead of `federation`.
#deployments = "deployments"

# This role's account: `flo keys new key.json`. The password is asked for, or read from a file that
# only this role can read.
key = "key.json"
#password-file = "password"

# Private files: what was committed and is not revealed yet, the models, the lock.
home = "home"
# Models and updates: a directory, or an IPFS node, kubo+http://127.0.0.1:5001.
store = "{store}"
# HTTP gateways that are asked for what the store has not.
#gateways = ["https://ipfs.example.org"]

# What a transaction may cost, in gwei for a unit of gas; what a role may pay for gas in a day, and
# put into stake and bonds, in ETH.
#max-fee = 50
#daily-cap = 0.1
#daily-deposit = 1
# How many blocks have to follow before something counts. 0 suits a chain that never goes back.
#confirmations = 0

# Figures for Prometheus, and whether the process is well (/healthz).
#metrics = "127.0.0.1:9100"
#log-format = "json"
"""

_ROLES: Final = {
    "party": """\

[party]
# Your own code: a function that returns a trainer. See `flo party check`.
trainer = "my_trainer.py:make_trainer"
# A keeper's relay: outbound HTTPS is all that this site then needs, and no coin for gas.
#relay = "https://relay.example.org"
# A global model that does worse on this site's own validation data raises an alert and is not taken
# into use.
#alert-below = "accuracy=0.7"
#alert-above = "loss=1.0"
# The last good model. Default: current.safetensors in this role's directory below `home`.
#current = "current.safetensors"
""",
    "aggregator": """\

[aggregator]
# Give an aggregator a key of its own where it runs beside another role.
#key = "aggregator.json"
""",
    "watcher": """\

[watcher]
#key = "watcher.json"
# The most to pay for one demand, in ETH. It comes back if the model was wrong.
#max-bond = 1
""",
    "keeper": """\

[keeper]
#key = "keeper.json"
# Take messages and updates of parties that are behind a firewall.
#relay = "127.0.0.1:8600"
""",
}


def init(
    file: Annotated[Path, typer.Argument(help="The settings file to write.")] = config.FILE,
    role: Annotated[str, typer.Option(help="party, aggregator, watcher or keeper.")] = "party",
) -> None:
    """Write a settings file with comments, to be filled in. An existing one is never overwritten.

    Example: flo init --role party
    """
    if role not in _ROLES:
        raise InputError(f"There is no role {role!r}.", f"Use {', '.join(_ROLES)}.")
    text = _SHARED.format(store=(file.resolve().parent / "store").as_uri()) + _ROLES[role]
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError as error:
        raise InputError(
            f"{file} exists already, and was left as it is.", "Give another FILE."
        ) from error
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}.", "Check its directory."
        ) from error
    say(f"{safe(file)} is written. Fill it in; then `flo keys new key.json`.")
