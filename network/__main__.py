"""Creates and runs a private chain of four validators on 127.0.0.1.

    python -m network DIRECTORY --fund ADDRESS      create it if it is new, and run all validators
    python -m network DIRECTORY --fund ADDRESS --engine istanbul    with blocks that are final
    python -m network DIRECTORY --only 2            run only validator 2, for example after a crash

It runs until it is interrupted, and then stops the validators it started. See docs/network.md.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fl_orchestrator.model.protocol import ADDRESS
from fl_orchestrator.units import ETHER
from network.engines import ENGINES
from network.network import Network, Validator, create, load
from network.validators import ValidatorFailed, Validators

_FUNDS: Final = 1_000_000 * ETHER
_POLL_SECONDS: Final = 0.5


def main() -> int:
    options = _options()
    # End on SIGTERM (from systemd) and on SIGHUP (the terminal was closed) as on Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    network = _network(options)
    chosen = [v for v in network.validators if not options.only or v.number in options.only]
    if not chosen:
        print(f"There are validators 1 to {len(network.validators)}.", file=sys.stderr)
        return 2
    try:
        validators = Validators(network)
    except subprocess.CalledProcessError:
        return 1  # the script has said what is missing
    try:
        validators.start(chosen)
        _show(network, validators, chosen)
        _watch(validators, chosen)
    except KeyboardInterrupt:
        print("Stopping.", file=sys.stderr)
    except ValidatorFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        validators.stop_all()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m network", description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path, help="where keys, chains and logs are")
    parser.add_argument(
        "--fund",
        type=_address,
        action="append",
        default=[],
        metavar="ADDRESS",
        help=f"gets {_FUNDS // ETHER:,} coins in the genesis block; may be repeated",
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="clique", help="consensus of a new network (clique)"
    )
    parser.add_argument("--chain-id", type=int, default=1337, help="of a new network (1337)")
    parser.add_argument(
        "--period", type=int, help="seconds between its blocks (clique: 2; istanbul: always 1)"
    )
    parser.add_argument(
        "--only", type=int, action="append", metavar="N", help="run only validator N; repeatable"
    )
    return parser.parse_args()


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address")
    return text


def _network(options: argparse.Namespace) -> Network:
    """The network in the directory, or a new one."""
    if (options.directory / "network.json").exists():
        if options.fund:
            sys.exit(f"{options.directory} already has a network: --fund is only for a new one.")
        return load(options.directory)
    if not options.fund:
        sys.exit("A new network needs an account that gets coin: --fund ADDRESS.")
    engine = ENGINES[options.engine]
    period = options.period or engine.periods[min(1, len(engine.periods) - 1)]
    balances = dict.fromkeys(options.fund, _FUNDS)
    try:
        return create(options.directory, engine, balances, options.chain_id, period)
    except ValueError as error:
        sys.exit(f"--period: {error}.")


def _show(network: Network, validators: Validators, chosen: Sequence[Validator]) -> None:
    print(f"Chain {network.chain_id} ({network.engine}), a block every {network.period} s.")
    for validator in chosen:
        pid = validators.pid(validator)
        print(f"{validator.number}  {validator.url}  {validator.address}  process {pid}")
    print(f"All endpoints: --rpc {','.join(network.urls)}", flush=True)


def _watch(validators: Validators, chosen: Sequence[Validator]) -> None:
    """Report validators that end; return when none is running. Ends on an interrupt."""
    alive = list(chosen)
    while alive:
        for validator in [v for v in alive if not validators.is_running(v)]:
            alive.remove(validator)
            print(f"Validator {validator.number} has ended.", file=sys.stderr)
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
