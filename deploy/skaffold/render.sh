#!/bin/sh
# Renders the chart for skaffold, with values.yaml and for each argument with <argument>-values.yaml too.
# The file is left alone when nothing changed, for skaffold watches it.
set -eu
cd "$(dirname "$0")"
values="--values values.yaml"
for more in "$@"; do values="$values --values $more-values.yaml"; done
# shellcheck disable=SC2086
helm template products-api ../../helm/products-api --namespace products-api --skip-tests $values >manifests/new
cmp -s manifests/new manifests/chart.yaml || cp manifests/new manifests/chart.yaml
rm manifests/new
