#!/bin/sh
# Watches a server until Ctrl-C, with what there is: `make monitor` runs it.
#
# With Docker: the server, Prometheus and Grafana (compose.yml). Without, or if ADMIN_PORT names a
# server that runs already: the `prometheus` of this machine, with the same configuration. Its data
# go when it ends.
set -eu

folder=$(cd "$(dirname "$0")" && pwd)
prometheus_port=${PROMETHEUS_PORT:-9090}
admin_port=${ADMIN_PORT:-9464}

fail() {
    echo "error: $*" >&2
    exit 1
}

for port in "$prometheus_port" "$admin_port"; do
    case $port in
        *[!0-9]*) fail "$port is no port" ;;
    esac
done

# The command alone is not enough: its engine has to run.
if [ -z "${ADMIN_PORT:-}" ] && docker info >/dev/null 2>&1 \
    && docker compose version >/dev/null 2>&1; then
    echo "Grafana     http://127.0.0.1:${GRAFANA_PORT:-3000}/"
    echo "Prometheus  http://127.0.0.1:$prometheus_port/alerts"
    echo "server      ws://127.0.0.1:${PORT:-8000}/"
    echo "stop        Ctrl-C"
    exec docker compose --project-name switchboard --file "$folder/compose.yml" up --build
fi

command -v prometheus >/dev/null \
    || fail "neither a running Docker nor prometheus is here; install one (Debian, Ubuntu:" \
        "apt install prometheus)"

scratch=$(mktemp -d)
prometheus=
stop() {
    [ -z "$prometheus" ] || kill "$prometheus" 2>/dev/null || true
}
trap 'rm -rf "$scratch"' EXIT
trap stop INT TERM HUP

cp -R "$folder/prometheus/rules" "$scratch/rules"
sed "s/127\.0\.0\.1:9464/127.0.0.1:$admin_port/" "$folder/prometheus/prometheus.yml" \
    >"$scratch/prometheus.yml"

echo "Prometheus  http://127.0.0.1:$prometheus_port/alerts"
echo "watches     http://127.0.0.1:$admin_port/metrics (start the server with: make serve)"
echo "Grafana     is missing: it needs Docker, and to be run without ADMIN_PORT"
echo "stop        Ctrl-C"
# Not in the foreground: a shell that waits for it would sleep through a signal of its own.
prometheus --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/data" \
    --web.listen-address="127.0.0.1:$prometheus_port" --log.level=warn &
prometheus=$!
code=0
wait "$prometheus" || code=$?
# A signal ends the first wait; the second one is for the end of what it has stopped.
while kill -0 "$prometheus" 2>/dev/null; do
    code=0
    wait "$prometheus" || code=$?
done
exit "$code"
