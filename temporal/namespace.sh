#!/bin/sh
# Creates our namespace and search attributes on a Temporal server, or does nothing where they are. Needs the `temporal`
# command line, as in the image temporalio/admin-tools; the server by TEMPORAL_ADDRESS, the namespace by TEMPORAL_NAMESPACE.
set -eu
: "${TEMPORAL_ADDRESS:=127.0.0.1:7233}" "${TEMPORAL_NAMESPACE:=default}" "${WHORL_TEMPORAL_RETENTION:=72h}"
export TEMPORAL_ADDRESS TEMPORAL_NAMESPACE
here=$(dirname "$0")

until temporal operator cluster health >/dev/null 2>&1; do
  echo "waiting for Temporal at $TEMPORAL_ADDRESS"
  sleep 1
done

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$WHORL_TEMPORAL_RETENTION"

# A namespace that was just made may not be in every cache of the server yet.
until existing=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE" 2>/dev/null); do
  sleep 1
done
sed -n 's/^ *"\(.*\)": "\(.*\)",\{0,1\}$/\1 \2/p' "$here/search-attributes.json" | while read -r name type; do
  echo "$existing" | grep -Eq "^ *$name +$type" ||
    temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$name" --type "$type"
done
echo "namespace $TEMPORAL_NAMESPACE is ready"
