"""`flo party submit`: submit an update that was trained elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import JsonOption, err, interruptible, print_json, say
from fl_orchestrator.cli.following import follow
from fl_orchestrator.cli.roles.service import SAFE_TO_STOP
from fl_orchestrator.cli.roles.trust import TrustOption, parse_trust, warn_of_trust
from fl_orchestrator.cli.site import TIMEOUT_DEFAULT, Site, TimeoutOption, deployed_at, with_options
from fl_orchestrator.errors import ChainError, InputError

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import Observation, RoundView
    from fl_orchestrator.training.trainer import FloatArray


class NotTakingPart(ChainError):
    """The account cannot submit an update in this round."""


@with_options
def submit(
    site: Site,
    weights: Annotated[Path, typer.Argument(help="A .npz, .safetensors or .keras file.")],
    samples: Annotated[int, typer.Option(min=1, help="How many samples it was trained on.")],
    base_root: Annotated[
        str,
        typer.Option(help="The root of the model trained from. Default: the present head's."),
    ] = "",
    trust: TrustOption = "",
    timeout: TimeoutOption = TIMEOUT_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Submit weights that were trained from the current global model.

    Encodes the difference to the global model, commits to it, waits for the commit phase to close,
    stores the update and reveals it. Safe to interrupt: run it again to continue.

    Example: flo party submit local.npz --samples 120 --key party.json --store file:///srv/flo
    """
    trusted = parse_trust(trust)
    with interruptible(SAFE_TO_STOP), contextlib.ExitStack() as stack:
        from fl_orchestrator.roles.context import Context
        from fl_orchestrator.roles.manifests import manifest_of
        from fl_orchestrator.roles.party.party import Party, PartySettings
        from fl_orchestrator.roles.party.spending import require_no_budget
        from fl_orchestrator.roles.retention import Retention
        from fl_orchestrator.service.process import endpoints
        from fl_orchestrator.training.trainer import WeightSpec
        from fl_orchestrator.training.weights_file import load_weights

        chain = site.open_federation()
        content = site.open_store()
        manifest = manifest_of(content, chain)
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
        trained = load_weights(weights, tensors)
        sender = site.open_sender(chain)
        stack.enter_context(site.alone_with(chain, sender.address))
        home = site.role_home(chain, sender.address)
        require_no_budget(home)
        context = Context(
            federation=chain,
            sender=sender,
            store=content,
            manifest=manifest,
            home=home,
            deployed_at=deployed_at(chain, site.deployments),
            relay=site.open_relay(),
            retention=Retention(chain, content, home / "kept-as-party.json"),
            endpoints=endpoints(site.rpc, chain),
        )
        warn_of_trust(chain, trusted)
        settings = PartySettings(run_seed=0, confirmations=site.confirmations, trusted=trusted)
        party = Party(context, _Trained(trained, samples), settings)
        joined: RoundView | None = None
        start = chain.observe(sender.address)
        base = _base_of(start, base_root)
        if party.has_prepared(start.current.round):
            err.print("Continuing with the update that was prepared before; the file is ignored.")
        else:
            _require_nothing_owed(start, site.home)

        def done(seen: Observation) -> bool:
            nonlocal joined
            if joined is None and _has_joined(seen):
                joined = seen.current
            if joined is None and not party.has_prepared(seen.current.round):
                _require_base(seen, base)
            return joined is not None and _is_over(seen, joined.round)

        seen, acted = follow(chain, sender.address, party, done, timeout)
        if party.clipped:
            err.print(f"{party.clipped:.2%} of the update's values were out of range and clipped.")
        _report(chain, sender.address, seen, joined or seen.current, acted, json_output)


class _Trained:
    """A trainer that returns weights which were trained elsewhere."""

    def __init__(self, weights: list[FloatArray], samples: int) -> None:
        self._weights = weights
        self._samples = samples

    def fit(
        self,
        weights: list[FloatArray],  # noqa: ARG002
        config: dict[str, Any],  # noqa: ARG002
    ) -> tuple[list[FloatArray], int, dict[str, float]]:
        return self._weights, self._samples, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, dict[str, float]]:
        raise NotImplementedError("weights from a file are not evaluated here")


def _base_of(seen: Observation, base_root: str) -> bytes:
    """The root of the model that the weights were trained from. Raises InputError."""
    if not base_root:
        return seen.head.root
    try:
        root = bytes.fromhex(base_root.removeprefix("0x"))
    except ValueError:
        root = b""
    if len(root) != 32:
        raise InputError(f"{base_root!r} is not a root.", "It has 64 hexadecimal digits.")
    return root


def _require_nothing_owed(seen: Observation, home: Path) -> None:
    """Raises NotTakingPart if the account has a commitment whose update is not in ``home``."""
    current, committed = seen.current, seen.committed
    if current.round > 0 and committed.round == current.round and not committed.revealed:
        raise NotTakingPart(
            f"This account has committed in round {current.round}, but its update is not in "
            f"{home}.",
            "Give the --home that you submitted it with: an update that is not revealed costs "
            "stake.",
        )


def _require_base(seen: Observation, base: bytes) -> None:
    """Raises NotTakingPart if the weights were not trained from the round's base model."""
    from fl_orchestrator.chain.types import Phase

    if seen.current.phase is Phase.COMMIT and seen.current.base_root != base:
        raise NotTakingPart(
            f"Round {seen.current.round} starts from another global model than these weights.",
            "Fetch it with `flo model get`, train from it, and submit again.",
        )


def _has_joined(seen: Observation) -> bool:
    """Whether the party takes part in the current round. If not, it has to wait for the next.

    Raises NotTakingPart if it cannot take part in this round, and waiting would not help.
    """
    from fl_orchestrator.chain.types import Phase

    if seen.party.stake == 0:
        raise NotTakingPart(
            "This account is not registered as a party.", "Run `flo party register` first."
        )
    if seen.committed.round == seen.current.round and seen.current.round > 0:
        return True
    if seen.current.phase is Phase.COMMIT:
        if seen.party.frozen_stake == 0:
            raise NotTakingPart(
                f"The stake does not count in round {seen.current.round} yet.",
                "Submit in the next round.",
            )
        if not seen.drawn:
            raise NotTakingPart(
                f"This party was not drawn in round {seen.current.round}.",
                "Submit when it is drawn; `flo party status` tells.",
            )
    return False


def _is_over(seen: Observation, round_number: int) -> bool:
    """Whether the party has nothing left to do in the round that it joined."""
    from fl_orchestrator.chain.types import Phase

    if seen.current.round != round_number:
        return True
    revealed = seen.committed.round == round_number and seen.committed.revealed
    return revealed or seen.current.phase not in (Phase.COMMIT, Phase.REVEAL)


def _report(
    chain: Federation,
    account: str,
    seen: Observation,
    joined: RoundView,
    acted: bool,
    json_output: bool,
) -> None:
    """Print the outcome of the update. Raises NotTakingPart if it does not count."""
    round_number = joined.round
    revealed = seen.committed.round == round_number and seen.committed.revealed
    reveals = chain.revealed_updates(joined.seed_block, round_number=round_number)
    counted = any(reveal.party == account for reveal in reveals)
    if json_output:
        print_json({"round": round_number, "revealed": revealed, "counted": counted})
    if not revealed:
        raise NotTakingPart(
            f"The update was not revealed in round {round_number}: the round ended first.",
            "If the round is void because too few parties committed, no stake is lost; otherwise "
            "see `flo party status`.",
        )
    if not counted:
        raise NotTakingPart(
            f"The update was revealed in round {round_number} but does not count: another update "
            "with the same numbers was revealed before.",
            "Every party must submit an update that it trained itself.",
        )
    if json_output:
        return
    if acted:
        say(f"[green]Revealed[/] in round {round_number}.")
    else:
        say(
            f"The update of round {round_number} was revealed before; nothing was sent. The next "
            "one can be submitted when the next round is open."
        )
