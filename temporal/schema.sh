#!/bin/sh
# Brings the schema of Temporal's two databases up to the release of the image temporalio/admin-tools that this runs in.
# Repeating it changes nothing. The server by SQL_HOST, the user by SQL_USER, the password in the file SQL_PASSWORD_FILE.
set -eu
# In the environment, because other processes can read a command line.
SQL_PASSWORD=$(cat "$SQL_PASSWORD_FILE")
export SQL_PASSWORD
versions=${TEMPORAL_SCHEMA:-/etc/temporal/schema/postgresql/v12}

for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%:*} folder=${pair#*:}
  tool() { temporal-sql-tool --plugin postgres12 --endpoint "$SQL_HOST" --port 5432 --user "$SQL_USER" --database "$database" "$@"; }
  tool setup-schema --version 0.0
  tool update-schema --schema-dir "$versions/$folder/versioned"
done
echo "the schema of Temporal is ready"
