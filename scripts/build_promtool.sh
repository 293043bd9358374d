#!/bin/sh
# Print the path of promtool, which checks alert rules with Prometheus' own engine: the one on the
# PATH, else the one in the cache. If there is none, build it with Go into the cache, which takes
# some minutes.
set -eu

if command -v promtool; then
    exit 0
fi
program=promtool name=promtool version=v0.316.0
missing="There is no promtool on the PATH, and no Go to build it: install Prometheus, or Go 1.26 or later."
. "$(dirname -- "$0")/go_program.sh"

download github.com/prometheus/prometheus 1.26 <<EOF
github.com/prometheus/prometheus $version h1:f1GRFerhTMKQma+awCoC9T820ecWeGSdF+xAlMHzZzM=
github.com/prometheus/prometheus $version/go.mod h1:nd2m0IehYLgxV4yAmoQDsvV45I9Xerh+uTUeCioEMis=
EOF
# remove_all_sd: without the clients of all clouds, which are most of it.
CGO_ENABLED=0 compile "$module" -tags remove_all_sd ./cmd/promtool
finish --version
