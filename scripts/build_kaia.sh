#!/bin/sh
# Print the path of kcn, the validator of Kaia 1.0.3 with Istanbul BFT, from the cache. If there is
# none, build it with Go into the cache, which takes some minutes. It is for tests alone: Kaia is
# under the GPL and no part of this project.
set -eu

version=v1.0.3
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/kaia-$version"
here="$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)"

if [ -x "$cache/kcn" ]; then
    echo "$cache/kcn"
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Kaia $version is built with Go, which is not installed: install it." >&2
    exit 1
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# A module of its own, with all sums: Kaia asks for a blst that does not compile with a Go of today.
cp "$here/../network/kaia/go.mod" "$here/../network/kaia/go.sum" "$work/"

echo "Building Kaia $version into $cache (once; some minutes)" >&2
# checklinkname, -p 1 and the rename: as in build_geth.sh.
(cd "$work" && GOWORK=off nice -n 15 go build -p 1 -mod=readonly -trimpath \
    -ldflags=-checklinkname=0 -o "$work/kcn" github.com/kaiachain/kaia/cmd/kcn) >&2
"$work/kcn" version >&2
mv "$work/kcn" "$cache/kcn"
echo "$cache/kcn"
