#!/bin/sh
# The whole product in containers, for people without make.
set -eu
CDPATH="" cd -- "$(dirname -- "$0")"

say() {
    printf '%s\n' "$@"
}

fail() {
    say "$@" >&2
    exit 1
}

usage() {
    cat <<'END'
usage: start-dev.sh [up | down | --help]

  up    build and start everything, wait until it serves (the default)
  down  stop everything; the data stays for the next start

Settings such as PORT come from .env or the environment; .env.example explains each.
To delete the data too: docker compose down --volumes
END
}

case "${1:-up}" in
up | down) ;;
-h | --help | help) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac

command -v docker >/dev/null || fail "Docker is needed and not found: https://docs.docker.com/get-started/get-docker/"
docker compose version >/dev/null 2>&1 || fail "Docker is there without compose 2: https://docs.docker.com/compose/install/"
docker info >/dev/null 2>&1 || fail "The Docker engine does not answer. Start it (or Docker Desktop), and see that you may use it: docker info"

if [ "${1:-up}" = down ]; then
    docker compose down
    exit
fi

trap 'say "" "Interrupted. What was started goes on; to stop it: start-dev.sh down" >&2; exit 130' INT
# It waits for the gateway too, which is healthy once GET /health comes through it.
docker compose up --build --detach --wait || fail "Not everything came up. What it says: docker compose logs"
api=http://$(docker compose port gateway 8000)

say "" \
    "The API:      $api" \
    "Try it there: $api/docs" \
    "First admin:  POST /auth/register {\"email\": \"admin@example.com\", \"password\": \"admin123\", \"role\": \"admin\"}" \
    "Log in:       POST /auth/login with email and password, or Authorize in /docs (the email is the username)" \
    "To stop:      start-dev.sh down"
