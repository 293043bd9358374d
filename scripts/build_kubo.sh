#!/bin/sh
# Print the path of an IPFS node program (Kubo): the `ipfs` on the PATH, else the one in the cache.
# If there is none, build it with Go into the cache, which takes a few minutes.
set -eu

if command -v ipfs; then
    exit 0
fi
program=ipfs name=kubo version=v0.39.0
missing="There is no ipfs on the PATH, and no Go to build it: install Kubo, or Go 1.25 or later."
. "$(dirname -- "$0")/go_program.sh"

download github.com/ipfs/kubo 1.25 <<EOF
github.com/ipfs/kubo $version h1:QA9tjxjZFfffZDUnJqbFHCaapxkzEBD2nC5YmYDIkEU=
github.com/ipfs/kubo $version/go.mod h1:Q3P66qKdBIu0Cwj0EWOkb4eBma8ogfUy0YG7N4Stegs=
EOF
# untested_go_version: a dependency refuses Go releases newer than itself without this tag.
CGO_ENABLED=0 compile "$module" -tags untested_go_version ./cmd/ipfs
finish version
