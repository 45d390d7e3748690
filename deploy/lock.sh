#!/bin/sh
# Resolves the dependencies and writes every file that pins them. Pins that still fit stay as they are;
# `sh deploy/lock.sh --upgrade` takes the newest of all, `--upgrade-package NAME` of one.
# uv.lock names a registry in every entry, so it is not committed; its pins live on as constraints in pyproject.toml.
# All of them come as wheels but one: crontab, which rq-scheduler asks for, is published as source only. It is pure
# Python, pinned by its hash like all others, and built by setuptools when it is installed.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

constrain() { # constrain FILE: the pins of FILE become the constraints of pyproject.toml
    sed -n 's/^\([^ #]*==[^\\]*[^ \\]\).*/    "\1",/p' "$1" >"$scratch/pins"
    awk -v pins="$scratch/pins" '
        /^constraint-dependencies = \[/ {
            print "constraint-dependencies = ["
            while ((getline line < pins) > 0) print line
            print "]"
            skipping = !/\]/
            next
        }
        skipping { skipping = !/^\]/; next }
        { print }
    ' pyproject.toml >"$scratch/pyproject.toml"
    cat "$scratch/pyproject.toml" >pyproject.toml
}

export_to() { # export_to FILE OPTION...
    file=$1
    shift
    "$uv" export --quiet --locked --no-emit-workspace --no-annotate --no-header --output-file "$file" "$@"
}

# In a fresh clone the constraints are all that is known of the pins.
[ -f uv.lock ] || "$uv" lock --quiet || echo "these pins no longer fit; all are chosen anew" >&2
cp pyproject.toml "$scratch/before"
trap 'cat "$scratch/before" >pyproject.toml; rm -rf "$scratch"' EXIT
constrain /dev/null
"$uv" lock "$@"
export_to requirements.lock --all-packages --no-default-groups --group build
export_to requirements-dev.lock --all-packages --all-groups
export_to requirements-build.lock --only-group build
export_to requirements-reload.lock --only-group reload
export_to requirements-services.lock --no-default-groups \
    --package products-auth --package products-catalog --package products-sync
constrain requirements-dev.lock
trap 'rm -rf "$scratch"' EXIT
"$uv" lock --quiet
