#!/usr/bin/env bash
# Makes `promtool` available, which the tests of deploy/ and of /metrics run: Debian's package `prometheus` brings it.
set -uo pipefail

command -v promtool >/dev/null && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "promtool is not here: installing Debian's package prometheus"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null
fi
if ! command -v promtool >/dev/null; then
  echo "promtool is not here, and could not be installed: install Debian's package prometheus, or put promtool" >&2
  echo "(https://prometheus.io/download/) on the PATH. The tests of the alerts and of /metrics need it." >&2
  exit 1
fi
