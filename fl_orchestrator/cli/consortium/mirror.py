"""`flo mirror`: the models of a federation on other chains. See docs/mirror.md."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    interruptible,
    print_json,
    print_pairs,
    safe,
    say,
    short,
)
from fl_orchestrator.cli.consortium.deployment import deployer
from fl_orchestrator.cli.consortium.signatures import read_signature, write_signature
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.service import (
    SAFE_TO_STOP,
    BlockTimeoutOption,
    OnceOption,
    ServiceSite,
    show_done,
)
from fl_orchestrator.cli.site import (
    TIMEOUT_DEFAULT,
    DryRunOption,
    Endpoint,
    Holder,
    deployed_at,
    open_signer,
    with_options,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.units import ether, parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.mirror.types import MirroredModel
    from fl_orchestrator.members.mirrors import OpenMirror

_DAY: Final = 86_400
_HOUR: Final = 3_600
_SAME_CHANGE: Final = (
    "All must sign the same round and the same seats; stakes may have changed since."
)

app = Noun("Keep the models of a federation on other chains, too.")

ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="URL[#ADDRESS]",
        help="The mirror: an RPC endpoint of its chain, and its address if it is not recorded.",
    ),
]


@app.command()
@with_options
def create(
    site: Holder,
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="An RPC endpoint of the mirror's chain.")
    ],
    challenge_period: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=2, help="How long a model can be challenged there."),
    ] = _DAY,
    answer_period: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help="How long a demand waits for an answer.")
    ] = _HOUR,
    demand_bond: Annotated[
        str, typer.Option(metavar="ETH", help="What a demand costs whoever makes it.")
    ] = "0.01",
    from_head: Annotated[
        bool,
        typer.Option(
            "--from-head",
            help="Start from the last final model. Default: from genesis, which "
            "only works while the aggregators of the first round still have their seats.",
        ),
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Deploy a mirror of the federation on another chain, with its present aggregators as seats.

    The account needs coin on that chain only. The deployment is recorded, so that a second call
    changes nothing; a second mirror on the same chain needs another --deployments directory.

    Example: flo mirror create --to https://rpc.example.org --key owner.json
    """
    with interruptible("Run the same command again to continue."):
        from fl_orchestrator.chain.abi import to_abi
        from fl_orchestrator.chain.deployment.migrate import deploy, gas_to_deploy
        from fl_orchestrator.members.mirrors import mirror_terms, open_mirror, seats_of

        home = site.open_federation()
        bond = parse_ether(demand_bond)
        own = mirror_terms(home, challenge_period, answer_period, bond, now=from_head)
        seats = seats_of(home, deployed_at(home, site.deployments))
        sender, record = deployer(
            "ModelMirror", to, None, site.deployments, site.key, site.password_file
        )
        chain_id = sender.web3.eth.chain_id
        terms = (to_abi(own), to_abi(home.params()), [seat.word for seat in seats])
        if dry_run:
            gas = gas_to_deploy(sender, "ModelMirror", terms, record)
            if json_output:
                print_json({"gas": gas, "chain_id": chain_id, "dry_run": True})
            else:
                say(f"Would deploy on chain {chain_id}; {gas:,} gas.")
            return
        deployed = deploy(sender, "ModelMirror", terms, record)[-1]
        mirror = open_mirror(f"{to}#{deployed.address}", site.deployments, home)
    if json_output:
        print_json(_described(mirror))
        return
    say(
        f"Mirror {deployed.address} on chain {mirror.contract.chain_id}, block {deployed.block}; "
        f"recorded in {safe(record.path)}."
    )
    say(f"Seats: {len(seats)}. Next: `flo mirror run --to {safe(to)}`.")


@app.command()
@with_options
def run(
    site: ServiceSite,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="URL[#ADDRESS]",
            help="A mirror: an RPC endpoint of its chain, and its address if it is not recorded. "
            "Repeat it for several.",
        ),
    ],
    once: OnceOption = False,
    timeout: BlockTimeoutOption = TIMEOUT_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Carry every final round to mirrors, make it final there, and answer demands.

    The account needs coin on the mirrors' chains, and none at home. Several processes may carry to
    the same mirror. Safe to interrupt and to repeat: what a mirror has is read from its chain.

    Example: flo mirror run --to https://rpc.example.org --key carrier.json
    """
    with interruptible(SAFE_TO_STOP), site.running("mirror", once=once) as process:
        from fl_orchestrator.members.mirrors import Carrier, open_mirror

        opened = [
            functools.partial(open_mirror, place, site.deployments, process.chain) for place in to
        ]
        mirrors = [process.waiting.until_had("the mirror", one) for one in opened]
        done = Carrier(process, mirrors).run(once=once, timeout=timeout)
        heads = [_described(mirror) for mirror in mirrors] if json_output or once else []
    if json_output:
        print_json({"sent": dict(done), "mirrors": heads})
    elif once:
        for head in heads:
            say(
                f"Mirror {head['mirror']}: head round {head['round']}, height {head['height']}, "
                f"final {head['final_height']}."
            )
    else:
        show_done(done, json_output=False)


@app.command()
@with_options
def show(site: Endpoint, to: ToOption, json_output: JsonOption = False) -> None:
    """Show a mirror: whether it is of this federation, its head, its windows and its seats.

    Example: flo mirror show --to https://rpc.example.org
    """
    with interruptible("Nothing was changed; run it again."):
        from fl_orchestrator.members.mirrors import open_mirror

        home = site.open_federation()
        mirror = open_mirror(to, site.deployments, home)
        contract = mirror.contract
        shown = _described(mirror)
        head = contract.head()
        seats = contract.seats_for(head.round + 1, mirror.from_block)
        at_home = home.head()
    if json_output:
        listed = [{"account": seat.account, "stake": seat.stake} for seat in seats]
        print_json({**shown, "home_round": at_home.round, "seats": listed})
        return
    print_pairs(
        [
            ("mirror", contract.address),
            ("chain", str(contract.chain_id)),
            ("head", f"round {head.round}, height {head.height}, root {short(shown['root'])}"),
            ("final", f"height {shown['final_height']}"),
            ("at home", f"round {at_home.round}, height {at_home.height}"),
            ("window", f"{contract.mirror_params().challenge_period} s"),
            *((f"seat {n}", f"{s.account} {ether(s.stake)}") for n, s in enumerate(seats)),
        ]
    )


@app.command()
@with_options
def seats(
    site: Holder,
    to: ToOption,
    from_round: Annotated[
        int, typer.Option(min=1, metavar="N", help="The first round of the new seats.")
    ],
    signature: Annotated[
        list[Path] | None,
        typer.Option(help="A signature that a seat has written. Repeat it for every one."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Sign as one of the present seats, and write this file.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Change a mirror's seats to the federation's present aggregators and their stakes.

    Each of the present seats signs with --output; anyone sends the change with those signatures,
    once they are of more than 2/3 of the stake.

    Example: flo mirror seats --to https://rpc.example.org --from-round 40 --output mine.json
    """
    if (output is None) == (not signature):
        raise InputError(
            "Either sign, or send what was signed.", "Give --output, or --signature for each file."
        )
    with interruptible("Run the same command again."):
        from fl_orchestrator.chain.sending.send import Sender
        from fl_orchestrator.members.mirrors import open_mirror, seats_of

        home = site.open_federation()
        mirror = open_mirror(to, site.deployments, home)
        contract = mirror.contract
        new = seats_of(home, deployed_at(home, site.deployments))
        digest = contract.seats_digest(from_round, new)
        signer = open_signer(site.key, site.password_file)
        if output is not None:
            signed = contract.sign_seats(signer, from_round, new)
            write_signature(output, digest, signer.address, signed)
            say(f"Signed {len(new)} seats from round {from_round} on, in {safe(output)}.")
            return
        present = contract.last_seats(mirror.from_block)
        places = {seat.account: place for place, seat in enumerate(present)}
        given = dict(
            read_signature(path, digest, places, "flo mirror seats --output", _SAME_CHANGE)
            for path in signature or []
        )
        sender = Sender(contract.web3, signer, contract.reverts)
        receipt = sender.send(contract.change_seats(from_round, new, present, given))
    if json_output:
        print_json({"seats": len(new), "from_round": from_round, "gas": receipt.gas_used})
    else:
        say(f"The mirror has {len(new)} seats from round {from_round} on.")


def _described(mirror: OpenMirror) -> dict[str, Any]:
    contract = mirror.contract
    head: MirroredModel = contract.head()
    return {
        "mirror": contract.address,
        "chain_id": contract.chain_id,
        "round": head.round,
        "height": head.height,
        "final_height": contract.final_height(),
        "root": "0x" + head.root.hex(),
        "cid": str(head.cid),
    }
