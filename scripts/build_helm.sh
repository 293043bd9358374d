#!/bin/sh
# Print the path of helm, which renders the example chart in the tests: the one on the PATH, else
# the one in the cache. If there is none, build it with Go into the cache, which takes some minutes.
set -eu

if command -v helm; then
    exit 0
fi
program=helm name=helm version=v3.22.0
missing="There is no helm on the PATH, and no Go to build it: install Helm 3, or Go 1.26 or later."
. "$(dirname -- "$0")/go_program.sh"

download helm.sh/helm/v3 1.26 <<EOF
helm.sh/helm/v3 $version h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=
helm.sh/helm/v3 $version/go.mod h1:EVl/147Ai2z13JOykbO1Jn9HRaXyU7uHlbAJmODq/Fg=
EOF
CGO_ENABLED=0 compile "$module" ./cmd/helm
finish version
