#!/bin/sh
# What must be true of the image of the services, $IMAGE, before it is deployed: skaffold test.
set -eu
fail() { echo "$IMAGE: $1" >&2; exit 1; }
run() { docker run --read-only --network none --cap-drop ALL --security-opt no-new-privileges "$@"; }

faults=$(run --rm --interactive "$IMAGE" python - <deploy/skaffold/inspect_image.py 2>&1) || fail "$faults"

# Without settings a service must say what is missing, and end.
said=$(run --rm "$IMAGE" python -m auth serve 2>&1) && fail "starts without settings"
case $said in *DATABASE_URL*SECRET_KEY*) ;; *) fail "does not say which settings are missing: $said" ;; esac

# SIGTERM must reach a service, whether or not there is a database.
container=$(run --detach --env DATABASE_URL=postgresql://localhost/none --env REDIS_URL=redis://localhost \
    --health-cmd "python -c \"import urllib.request as it; it.urlopen('http://127.0.0.1:8000/livez')\"" \
    --health-interval 1s --tmpfs /tmp "$IMAGE" python -m catalog serve)
trap 'docker rm --force --volumes "$container" >/dev/null' EXIT
seconds=0
until [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; do
    [ $((seconds += 1)) -le 30 ] || fail "does not serve: $(docker logs "$container" 2>&1)"
    sleep 1
done
docker stop --time 20 "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || fail "ends with $code on SIGTERM"
