#!/bin/sh
# Print the path of a geth that can seal Clique blocks: the one on the PATH if its version is 1.13,
# else the one in the cache. If there is none, build it with Go into the cache, which takes some
# minutes. 1.13.15 is the last version with Clique.
set -eu

version=v1.13.15
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/geth-$version"

if command -v geth >/dev/null && geth version 2>/dev/null | grep -q '^Version: 1\.13\.'; then
    command -v geth
    exit 0
fi
if [ -x "$cache/geth" ]; then
    echo "$cache/geth"
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "There is no geth 1.13 on the PATH, and no Go to build it: install either of them." >&2
    exit 1
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# As in build_kubo.sh: download the module by its exact version, check it against the sums below,
# and build it with its own go.mod.
cat >"$work/go.mod" <<EOF
module geth
go 1.20
require github.com/ethereum/go-ethereum $version
EOF
cat >"$work/go.sum" <<EOF
github.com/ethereum/go-ethereum $version h1:U7sSGYGo4SPjP6iNIifNoyIAiNjrmQkz6EwQG+/EZWo=
github.com/ethereum/go-ethereum $version/go.mod h1:TN8ZiHrdJwSe8Cb6x+p0hs5CxhJZPbqB7hHkaUXcmIU=
EOF

echo "Building geth $version into $cache (once; some minutes)" >&2
(cd "$work" && GOWORK=off go mod download github.com/ethereum/go-ethereum) >&2
# checklinkname: a dependency uses internals of Go's runtime, which Go refuses since 1.23.
# Build one package at a time (-p 1), so that the machine stays usable.
(cd "$(go env GOMODCACHE)/github.com/ethereum/go-ethereum@$version" &&
    GOWORK=off CGO_ENABLED=0 nice -n 15 go build -p 1 -mod=readonly -trimpath \
        -ldflags=-checklinkname=0 -o "$work/geth" ./cmd/geth) >&2
"$work/geth" version >&2
# Rename is atomic: if several builds run at the same time, each installs a complete program.
mv "$work/geth" "$cache/geth"
echo "$cache/geth"
