"""`flo up`: a whole federation on this machine, one process for each role, on Anvil."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, err, out, print_json, safe, say, short
from fl_orchestrator.cli.following import waiting_for
from fl_orchestrator.cli.options.track import TrackOption
from fl_orchestrator.cli.trial.serving import serving_up
from fl_orchestrator.model.protocol import MAX_AGGREGATORS, MAX_UPDATES

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.roles.masked.terms import PrivateTerms
    from fl_orchestrator.roles.setup import Terms
    from fl_orchestrator.service.local.federation import LocalFederation, Model, Payer
    from fl_orchestrator.service.local.supervisor import Supervisor
    from fl_orchestrator.service.local.view import RunMonitor, View
    from fl_orchestrator.service.stop import Stop
    from fl_orchestrator.simulation.options import Options
    from fl_orchestrator.tracking.several import Trackers
    from fl_orchestrator.training.numpy_logistic import NumpyLogistic

_DATASET: Final = "breast-cancer"
_CLASSES: Final = 2
_LOOK_SECONDS: Final = 1.0
#: A file in the directory: the round up to which the history was shown.
_CURSOR: Final = "rounds-cursor.json"


@dataclass(frozen=True, slots=True)
class _Programs:
    """``anvil`` is None on an ``existing`` chain, which is the URL of its endpoint."""

    anvil: Path | None
    kubo: Path | None
    existing: str


def up(
    parties: Annotated[int, typer.Option(min=1, max=MAX_UPDATES, help="Parties.")] = 5,
    aggregators: Annotated[int, typer.Option(min=1, max=MAX_AGGREGATORS, help="Aggregators.")] = 4,
    watchers: Annotated[int, typer.Option(min=0, max=10, help="Watchers.")] = 1,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many rounds. Default: never.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="The directory for all files; started again, it continues.")
    ] = Path("flo-up"),
    partition: Annotated[
        str, typer.Option(help="The partition of the rows, as for `flo demo`.")
    ] = "dirichlet:0.5",
    seed: Annotated[int, typer.Option(min=0, help="Seeds the partition and the training.")] = 0,
    store: Annotated[
        str, typer.Option(help="kubo, file, or auto: Kubo where `ipfs` is installed.")
    ] = "auto",
    anvil: Annotated[
        Path | None, typer.Option(help="The Anvil program. Default: the one on the PATH.")
    ] = None,
    existing: Annotated[
        str,
        typer.Option(
            "--rpc", metavar="URL", help="An existing chain instead of Anvil; --key pays for it."
        ),
    ] = "",
    payer: Annotated[
        Path | None,
        typer.Option(
            "--key", help="With --rpc: the encrypted key file of an account that has coin."
        ),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="With --rpc: the file with that key's password.")
    ] = None,
    fund: Annotated[
        str, typer.Option(metavar="ETH", help="With --rpc: what each member's account gets.")
    ] = "20",
    ipfs: Annotated[
        Path | None, typer.Option(help="The Kubo program. Default: the one on the PATH.")
    ] = None,
    private: Annotated[
        bool,
        typer.Option("--private", help="Mask the updates, so that only their sum can be read."),
    ] = False,
    track: TrackOption = (),  # type: ignore[assignment]
    dashboard: Annotated[
        str,
        typer.Option(
            metavar="[HOST:]PORT", help="Where to show it in a browser; 0 is any port, none is off."
        ),
    ] = "0",
    json_output: JsonOption = False,
) -> None:
    """Start a whole local federation: a chain, a store, and a process for each role.

    With --rpc it runs on an existing chain; the account of --key gives each member coin.

    Each role has a directory with its key, its flo.toml, its data and its log, and runs the same
    command as in a real federation. The data set, breast tumours, is partitioned among the parties.
    Ctrl-C stops each process after its current step; the same command continues from there.

    Example: flo up --parties 5 --aggregators 4 --rounds 10
    """
    from fl_orchestrator.cli.logs import log
    from fl_orchestrator.service.local.federation import LocalFederation, Plan
    from fl_orchestrator.service.lock import account_lock
    from fl_orchestrator.service.stop import stop_on_signals
    from fl_orchestrator.simulation.options import Options
    from fl_orchestrator.tracking.by_name import openers_of
    from fl_orchestrator.tracking.several import Trackers, place_of

    log("warning", "text")
    wanted = openers_of(track)
    programs = _find_programs(anvil, ipfs, store, existing)
    paying = _payer(existing, payer, password_file, fund)
    options = Options(
        _DATASET, parties, aggregators, partition=partition, seed=seed, private=private
    )
    terms = _terms(parties, aggregators, private)
    with err.status("Partitioning the data …"):
        model, evaluator = _model(options)
    with contextlib.ExitStack() as stack:
        local = LocalFederation(directory, Plan(parties, aggregators, watchers, seed, private))
        stack.enter_context(account_lock(local.directory, f"The federation in {directory}"))
        stop = stack.enter_context(stop_on_signals())
        with err.status("Starting the chain, deploying, registering …"):
            world = _world(local, programs, model, evaluator, terms, paying)
            rpc, chain, monitor = stack.enter_context(world)
        if not json_output:
            say(f"Federation {chain.address}, on the chain at {rpc}.")
            _say_who_reads(chain)
        trackers = Trackers(wanted, chain, 0, place_of(chain, "up", local.directory))
        stack.callback(trackers.close)
        show = _Show(json_output, trackers)
        live = serving_up(local.directory, rpc, chain.address, monitor.store, dashboard)
        show.measured = stack.enter_context(live)
        shown = _run(local, chain, monitor, stop, rounds, show)
    if json_output:
        print_json({"federation": chain.address, "directory": str(directory), "rounds": shown})
    else:
        say(f"Stopped. All files are in {safe(directory)}: run the same command to continue.")


def _payer(rpc: str, key: Path | None, password_file: Path | None, fund: str) -> Payer | None:
    """Who pays for the federation on an existing chain; None on a chain of its own."""
    from fl_orchestrator.cli.site import open_signer
    from fl_orchestrator.errors import InputError
    from fl_orchestrator.service.local.federation import Payer
    from fl_orchestrator.units import parse_ether

    if bool(rpc) != (key is not None):
        raise InputError(
            "--rpc and --key belong together.",
            "Give the key file of an account that has coin on that chain.",
        )
    return Payer(open_signer(key, password_file), parse_ether(fund)) if rpc else None


def _find_programs(anvil: Path | None, ipfs: Path | None, store: str, existing: str) -> _Programs:
    from fl_orchestrator.errors import InputError
    from fl_orchestrator.service.local.programs import ProgramMissing, find_program

    if store not in ("auto", "kubo", "file"):
        raise InputError(f"There is no store {store!r}.", "Use auto, kubo or file.")
    chain = None if existing else find_program("anvil", anvil)
    if chain is None and not existing:
        raise ProgramMissing(
            "Anvil is not installed.", "Install Foundry, or name the program with --anvil."
        )
    kubo = None if store == "file" else find_program("ipfs", ipfs)
    if kubo is None and store == "kubo":
        raise ProgramMissing("Kubo is not installed.", "Name the program with --ipfs.")
    return _Programs(chain, kubo, existing)


def _model(options: Options) -> tuple[Model, NumpyLogistic]:
    """Logistic regression on the task's rows, and a trainer that evaluates it on the test rows."""
    from fl_orchestrator.service.local.federation import Model
    from fl_orchestrator.simulation.options import manifest_for
    from fl_orchestrator.training import datasets
    from fl_orchestrator.training.numpy_logistic import LOSS, NumpyLogistic, initial_weights
    from fl_orchestrator.training.tasks import partition_dataset, task_named

    task = task_named(options.dataset)
    task = dataclasses.replace(task, training=dataclasses.replace(task.training, loss=LOSS))
    dealt = partition_dataset(
        task,
        datasets.load(options.dataset),
        options.partition or task.partition,
        options.parties,
        options.seed,
    )
    evaluator = NumpyLogistic(dealt.test, _CLASSES)
    manifest = manifest_for(task, evaluator, options)
    return Model(manifest, initial_weights(task.inputs, _CLASSES), dealt.parties, _CLASSES), (
        evaluator
    )


def _terms(parties: int, aggregators: int, private: bool) -> tuple[Terms, PrivateTerms | None]:
    """The terms. A phase ends once everybody has acted; its period limits the wait for them."""
    from fl_orchestrator.roles.masked.terms import PrivateTerms, for_private, require_seats
    from fl_orchestrator.roles.setup import Terms

    terms = Terms(
        max_parties=parties,
        participants=parties,
        commit_period=180,
        reveal_period=120,
        attest_period=120,
        challenge_period=240,
        answer_period=120,
    )
    if not private:
        return terms, None
    own = PrivateTerms(claim_period=120)
    require_seats([terms.min_aggregator_stake] * aggregators, own.secrecy)
    return for_private(terms, own), own


def _say_who_reads(chain: Federation) -> None:
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.roles.masked.terms import at_a_glance

    say(at_a_glance(chain.private_params() if isinstance(chain, PrivateFederation) else None))


@contextlib.contextmanager
def _world(
    local: LocalFederation,
    programs: _Programs,
    model: Model,
    evaluator: NumpyLogistic,
    terms: tuple[Terms, PrivateTerms | None],
    payer: Payer | None,
) -> Iterator[tuple[str, Federation, RunMonitor]]:
    """Run the chain and the store, with the federation on it."""
    from fl_orchestrator.chain.nodes.connect import connect
    from fl_orchestrator.content.by_url import open_store
    from fl_orchestrator.members.connection import shared_files
    from fl_orchestrator.service.local.programs import anvil, kubo
    from fl_orchestrator.service.local.view import RunMonitor

    def evaluate(weights: list[Any]) -> tuple[float, float]:
        loss, _, metrics = evaluator.evaluate(weights, {})
        return loss, metrics["accuracy"]

    with contextlib.ExitStack() as stack:
        store_url = (local.directory / "store").as_uri()
        if programs.kubo is not None:
            store_url = stack.enter_context(kubo(programs.kubo, local.directory / "ipfs"))
        rpc = programs.existing
        if programs.anvil is not None:
            rpc = stack.enter_context(anvil(programs.anvil, local.directory / "chain"))
        web3 = connect(rpc)
        chain = local.deploy(web3, store_url, model, *terms, payer)
        chain.share()  # the screen shows every member
        local.write_sites(chain, rpc, [store_url], model)
        store = open_store(store_url)
        models, shared = local.directory / "models", shared_files(local.cache, chain)
        yield rpc, chain, RunMonitor(chain, store, model.manifest, models, evaluate, shared)


def _run(
    local: LocalFederation,
    chain: Federation,
    monitor: RunMonitor,
    stop: Stop,
    rounds: int | None,
    show: _Show,
) -> list[dict[str, Any]]:
    """Run the processes until it is time to stop; return the rounds accepted meanwhile."""
    from fl_orchestrator.chain.contract.history import HistoryFollower
    from fl_orchestrator.chain.types import ENDED
    from fl_orchestrator.service.local.supervisor import Supervisor
    from fl_orchestrator.service.local.view import RoundReporter

    start = chain.observe(local.keeper.address)
    begun = 0 if start.current.phase in ENDED else 1
    last = None if rounds is None else start.current.round + rounds - begun
    keeper = () if rounds is None else ("--rounds", str(rounds))
    children = [
        member.child(*(keeper if member is local.keeper else ())) for member in local.members()
    ]
    supervisor = Supervisor(children)
    follower = HistoryFollower(chain, local.directory / _CURSOR)
    reporter = RoundReporter(follower, monitor, show.round)
    try:
        supervisor.start()
        with show.live():
            while not stop.requested:
                supervisor.watch()
                view = monitor.look(local.parties, local.aggregators)
                reporter.look(view.seen)
                show.update(view, supervisor)
                show.trackers.step()
                current = view.seen.current
                if last is not None and current.round >= last and current.phase in ENDED:
                    break
                stop.sleep(_LOOK_SECONDS)
    finally:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # the terminal may be gone
                stack.enter_context(err.status("Stopping …"))
            supervisor.stop()
    return reporter.rounds


class _Show:
    """The display: a line for each accepted round, and below them a table of the processes."""

    def __init__(self, quiet: bool, trackers: Trackers) -> None:
        self._quiet = quiet
        self.trackers = trackers
        self.measured: Callable[..., None] = lambda *_, **_more: None
        self._began = time.monotonic()
        self._live: Live | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        if self._quiet or not out.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(console=out, refresh_per_second=4, transient=True) as self._live:
            yield

    def round(self, found: dict[str, Any]) -> None:
        """Print the outcome of a round, in the form that RoundReporter gives it."""
        if found.get("loss") is not None and not found["revoked"]:
            metrics = {"loss": found["loss"], "accuracy": found["accuracy"]}
            self.trackers.evaluated(found["round"], metrics)
            self.measured(found["round"], **metrics)
        if self._quiet:
            return
        root, seconds = short(found["root"]), time.monotonic() - self._began
        if found["revoked"]:
            # Revoked by the contract, or removed by a reorg.
            line = f"[yellow]Round {found['round']} is no longer accepted[/]: root {root}"
        elif found["loss"] is None:
            line = f"Round {found['round']} accepted: root {root}; its model has been pruned"
        else:
            line = (
                f"Round {found['round']} accepted: root {root}, accuracy "
                f"{found['accuracy']:.3f}, loss {found['loss']:.4f}"
            )
        out.print(f"{line} ({seconds:.0f} s)", soft_wrap=True)

    def update(self, view: View, supervisor: Supervisor) -> None:
        if self._live is not None:
            self._live.update(self._table(view, supervisor))

    def _table(self, view: View, supervisor: Supervisor) -> Table:
        from rich.table import Table

        table = Table(title=waiting_for(view.seen), title_justify="left")
        for column in ("process", "id", "round", "log"):
            table.add_column(column)
        for child in supervisor.children:
            state = str(child.pid) if child.runs else f"[red]ended ({child.exit_code})[/]"
            table.add_row(child.name, state, view.did.get(child.name, ""), safe(child.log))
        return table
