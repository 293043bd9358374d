"""`python -m fl_orchestrator`: the same as `flo`."""

from fl_orchestrator.cli.main import main

main()
