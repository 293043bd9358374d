#!/bin/sh
# Print the path of an IPFS node program (Kubo): the `ipfs` on the PATH, else the one in the cache.
# If there is none, build it with Go into the cache, which takes a few minutes.
set -eu

version=v0.39.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/kubo-$version"

if command -v ipfs; then
    exit 0
fi
if [ -x "$cache/ipfs" ]; then
    echo "$cache/ipfs"
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "There is no ipfs on the PATH, and no Go to build it: install Kubo, or Go 1.25 or later." >&2
    exit 1
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# `go install package@version` cannot be used: it requests the list of all versions, which not every
# proxy has, and it refuses directives in a newer Kubo's go.mod. So download the module by its exact
# version, check it against the sums below, and build it with its own go.mod.
cat >"$work/go.mod" <<EOF
module kubo
go 1.25
require github.com/ipfs/kubo $version
EOF
cat >"$work/go.sum" <<EOF
github.com/ipfs/kubo $version h1:QA9tjxjZFfffZDUnJqbFHCaapxkzEBD2nC5YmYDIkEU=
github.com/ipfs/kubo $version/go.mod h1:Q3P66qKdBIu0Cwj0EWOkb4eBma8ogfUy0YG7N4Stegs=
EOF

echo "Building Kubo $version into $cache (once; a few minutes)" >&2
(cd "$work" && GOWORK=off go mod download github.com/ipfs/kubo) >&2
# untested_go_version: a dependency refuses Go releases newer than itself without this tag.
(cd "$(go env GOMODCACHE)/github.com/ipfs/kubo@$version" &&
    GOWORK=off CGO_ENABLED=0 nice go build -mod=readonly -trimpath -tags untested_go_version \
        -o "$work/ipfs" ./cmd/ipfs) >&2
"$work/ipfs" version >&2
# Rename is atomic: if several builds run at the same time, each installs a complete program.
mv "$work/ipfs" "$cache/ipfs"
echo "$cache/ipfs"
