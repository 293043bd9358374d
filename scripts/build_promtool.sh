#!/bin/sh
# Print the path of promtool, which checks alert rules with Prometheus' own engine: the one on the
# PATH, else the one in the cache. If there is none, build it with Go into the cache, which takes
# some minutes.
set -eu

version=v0.316.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/promtool-$version"

if command -v promtool; then
    exit 0
fi
if [ -x "$cache/promtool" ]; then
    echo "$cache/promtool"
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "There is no promtool on the PATH, and no Go to build it: install Prometheus, or Go 1.26 or later." >&2
    exit 1
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# As in build_kubo.sh: download the module by its exact version, check it against the sums below,
# and build it with its own go.mod.
cat >"$work/go.mod" <<EOF
module promtool
go 1.26
require github.com/prometheus/prometheus $version
EOF
cat >"$work/go.sum" <<EOF
github.com/prometheus/prometheus $version h1:f1GRFerhTMKQma+awCoC9T820ecWeGSdF+xAlMHzZzM=
github.com/prometheus/prometheus $version/go.mod h1:nd2m0IehYLgxV4yAmoQDsvV45I9Xerh+uTUeCioEMis=
EOF

echo "Building promtool $version into $cache (once; some minutes)" >&2
(cd "$work" && GOWORK=off go mod download github.com/prometheus/prometheus) >&2
# remove_all_sd: without the clients of all clouds, which are most of it.
(cd "$(go env GOMODCACHE)/github.com/prometheus/prometheus@$version" &&
    GOWORK=off CGO_ENABLED=0 nice go build -mod=readonly -trimpath -tags remove_all_sd \
        -o "$work/promtool" ./cmd/promtool) >&2
"$work/promtool" --version >&2
# Rename is atomic: if several builds run at the same time, each installs a complete program.
mv "$work/promtool" "$cache/promtool"
echo "$cache/promtool"
