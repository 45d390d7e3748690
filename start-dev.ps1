# The whole product in containers, for people without make: what start-dev.sh does, for PowerShell.
# Where scripts may not run: powershell -ExecutionPolicy Bypass -File start-dev.ps1

function Fail([string] $Message) {
    [Console]::Error.WriteLine($Message)
    exit 1
}

$usage = @"
usage: start-dev.ps1 [up | down | --help]

  up    build and start everything, wait until it serves (the default)
  down  stop everything; the data stays for the next start

Settings such as PORT come from .env or the environment; .env.example explains each.
To delete the data too: docker compose down --volumes
"@

$command = if ($args.Count) { $args[0] } else { "up" }
if ($command -in "-h", "--help", "help") { $usage; exit }
if ($command -notin "up", "down") { [Console]::Error.WriteLine($usage); exit 2 }

if (-not (Get-Command docker -ErrorAction SilentlyContinue)) { Fail "Docker is needed and not found: https://docs.docker.com/get-started/get-docker/" }
docker compose version *> $null
if ($LASTEXITCODE) { Fail "Docker is there without compose 2: https://docs.docker.com/compose/install/" }
docker info *> $null
if ($LASTEXITCODE) { Fail "The Docker engine does not answer. Start it (or Docker Desktop), and see that you may use it: docker info" }

Push-Location $PSScriptRoot
try {
    if ($command -eq "down") {
        docker compose down
        exit $LASTEXITCODE
    }
    # It waits for the gateway too, which is healthy once GET /health comes through it.
    docker compose up --build --detach --wait
    if ($LASTEXITCODE) { Fail "Not everything came up. What it says: docker compose logs" }
    $api = "http://$(docker compose port gateway 8000)"
}
finally {
    Pop-Location
}

@"

The API:      $api
Try it there: $api/docs
First admin:  POST /auth/register {"email": "admin@example.com", "password": "admin123", "role": "admin"}
Log in:       POST /auth/login with email and password, or Authorize in /docs (the email is the username)
To stop:      start-dev.ps1 down
"@
