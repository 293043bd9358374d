#!/bin/sh
# Print the path of kcn, the validator of Kaia 1.0.3 with Istanbul BFT, from the cache. If there is
# none, build it with Go into the cache, which takes some minutes. It is for tests alone: Kaia is
# under the GPL and no part of this project.
set -eu

program=kcn name=kaia version=v1.0.3
missing="Kaia $version is built with Go and a C compiler: install them."
. "$(dirname -- "$0")/go_program.sh"

# A module of its own, with all sums: Kaia asks for a blst that does not compile with a Go of today.
here="$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)"
cp "$here/../network/kaia/go.mod" "$here/../network/kaia/go.sum" "$work/"
# checklinkname: as in build_geth.sh.
compile "$work" -ldflags=-checklinkname=0 github.com/kaiachain/kaia/cmd/kcn
finish version
