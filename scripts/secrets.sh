#!/bin/sh
# Makes the files in ./secrets that docker-compose.yml mounts: passwords that nobody need know, and what Buildkite gave
# you. What is there stays. The containers read them as user 1000 (Whorl), 70 or 999 (PostgreSQL) and 1000 (Temporal).
set -eu
cd "$(dirname "$0")/../secrets"
umask 077

drawn() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() { # name: from standard input, unless it is there
  if [ -s "$1" ]; then
    echo "secrets/$1: there already"
    return
  fi
  cat > "$1"
  [ -s "$1" ] || { rm -f "$1"; echo "secrets/$1: nothing was given" >&2; exit 1; }
  echo "secrets/$1: made"
}
asked() { # name, question
  if [ -s "$1" ]; then keep "$1" < /dev/null; return; fi
  [ -t 0 ] && { printf '%s: ' "$2" >&2; stty -echo; }
  answer=''
  read -r answer || true
  [ -t 0 ] && { stty echo; echo >&2; }
  printf %s "$answer" | keep "$1"
}

drawn | keep postgres_password
drawn | keep temporal_password
printf 'postgres://whorl:%s@postgres:5432/whorl' "$(drawn)" | keep database_url
asked buildkite_token 'API token of Buildkite (read_builds, write_builds, read_build_logs)'
asked buildkite_webhook_secret 'Token of the webhook at Buildkite (any long random text)'
# Compose mounts files as they are, and the users inside differ; the folder keeps others on this machine out.
chmod 700 .
chmod 444 ./*_password database_url buildkite_*
