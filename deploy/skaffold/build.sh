#!/bin/sh
# Builds a target of the Dockerfile as $IMAGE, for skaffold. Its own builder takes every file that the Dockerfile names
# for a source of every target, so that a saved line of a service would build and replace the gateway too.
set -eu
revision=$(git rev-parse HEAD 2>/dev/null) || revision=
docker build --file deploy/Dockerfile --target "$1" --tag "$IMAGE" --build-arg REVISION="$revision" \
    ${PLATFORMS:+--platform "$PLATFORMS"} .
if "$PUSH_IMAGE"; then docker push "$IMAGE"; fi
