#!/bin/sh
# Print the path of a geth that can seal Clique blocks: the one on the PATH if its version is 1.13,
# else the one in the cache. If there is none, build it with Go into the cache, which takes some
# minutes. 1.13.15 is the last version with Clique.
set -eu

if command -v geth >/dev/null && geth version 2>/dev/null | grep -q '^Version: 1\.13\.'; then
    command -v geth
    exit 0
fi
program=geth name=geth version=v1.13.15
missing="There is no geth 1.13 on the PATH, and no Go to build it: install either of them."
. "$(dirname -- "$0")/go_program.sh"

download github.com/ethereum/go-ethereum 1.20 <<EOF
github.com/ethereum/go-ethereum $version h1:U7sSGYGo4SPjP6iNIifNoyIAiNjrmQkz6EwQG+/EZWo=
github.com/ethereum/go-ethereum $version/go.mod h1:TN8ZiHrdJwSe8Cb6x+p0hs5CxhJZPbqB7hHkaUXcmIU=
EOF
# checklinkname: a dependency uses internals of Go's runtime, which Go refuses since 1.23.
CGO_ENABLED=0 compile "$module" -ldflags=-checklinkname=0 ./cmd/geth
finish version
