# Sourced by the scripts that build a program with Go, after they have set `program` (its name),
# `name` and `version` (of its directory in the cache) and `missing` (what to say without Go).
# shellcheck shell=sh disable=SC2154

cache="${XDG_CACHE_HOME:-$HOME/.cache}/fl-orchestrator/$name-$version"

if [ -x "$cache/$program" ]; then
    echo "$cache/$program"
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "$missing" >&2
    exit 1
fi

mkdir -p "$cache"
work="$(mktemp -d "$cache/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "Building $name $version into $cache (once; some minutes)" >&2

# Download a module by its exact version, and check it against the sums in the input. Arguments: the
# module, and the version of Go for the go.mod that asks for it.
#
# `go install package@version` cannot be used: it requests the list of all versions, which not every
# proxy has, and it refuses directives in a newer go.mod than it knows. So a module is built with its
# own go.mod, where it was downloaded.
download() {
    printf 'module build\ngo %s\nrequire %s %s\n' "$2" "$1" "$version" >"$work/go.mod"
    cat >"$work/go.sum"
    (cd "$work" && GOWORK=off go mod download "$1") >&2
    module="$(go env GOMODCACHE)/$1@$version"
}

# Build in the directory $1, with the other arguments, one package at a time (-p 1), so that the
# machine stays usable.
compile() {
    (cd "$1" && shift && GOWORK=off nice -n 15 go build -p 1 -mod=readonly -trimpath \
        -o "$work/$program" "$@") >&2
}

# Install what was built, once it answers to $1, and print its path.
finish() {
    "$work/$program" "$1" >&2
    # Rename is atomic: if several builds run at the same time, each installs a complete program.
    mv "$work/$program" "$cache/$program"
    echo "$cache/$program"
}
