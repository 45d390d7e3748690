#!/bin/sh
# What must be true of the image of the services, before it is deployed: skaffold test.
set -eu
image=$1
run() { docker run --rm --read-only --network none --cap-drop ALL --security-opt no-new-privileges "$@"; }
[ "$(run "$image" python -c 'import os; print(os.getuid())')" = 65532 ] || { echo "does not run as uid 65532" >&2; exit 1; }
for service in auth catalog sync; do
    run "$image" python -m "$service" --help >/dev/null
done
! run "$image" sh -c 'command -v pip || command -v gcc' || { echo "holds build tools" >&2; exit 1; }
# Without settings a service must say what is missing, and end.
! said=$(run "$image" python -m auth serve 2>&1) || { echo "starts without settings" >&2; exit 1; }
case $said in *DATABASE_URL*SECRET_KEY*) ;; *) echo "does not say which settings are missing: $said" >&2; exit 1 ;; esac
