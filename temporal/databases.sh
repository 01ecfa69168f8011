#!/bin/sh
# Makes the databases of Whorl and of Temporal, each with a user of its own, or does nothing where they are. Sets the
# passwords anew, so it is also how they are changed. Needs psql, as in the image postgres; the server and its
# administrator by PGHOST, PGUSER and the file ADMIN_PASSWORD_FILE. The password of `whorl` is the one in the URL of
# DATABASE_URL_FILE.
set -eu
PGPASSWORD=$(cat "$ADMIN_PASSWORD_FILE")
export PGPASSWORD PGDATABASE=postgres PGAPPNAME=databases.sh
whorl_password=$(sed -n 's|^postgres\(ql\)\{0,1\}://whorl:\([^@/]*\)@.*|\2|p' "$DATABASE_URL_FILE")
temporal_password=$(cat "$TEMPORAL_PASSWORD_FILE")
for word in "$whorl_password" "$temporal_password"; do
  case $word in
    '' | *[!A-Za-z0-9._~-]*)
      echo "$DATABASE_URL_FILE must hold postgres://whorl:<password>@<host>:5432/whorl, and passwords only letters, digits and . _ ~ -" >&2
      exit 1
      ;;
  esac
done

# By standard input, because other processes can read a command line.
user() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<SQL
\\set name '$1'
\\set word '$2'
select format('create role %I login', :'name') where not exists (select from pg_roles where rolname = :'name') \\gexec
select format('alter role %I password %L', :'name', :'word') \\gexec
SQL
}
database() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<SQL
\\set name '$1'
\\set owner '$2'
select format('create database %I owner %I', :'name', :'owner')
where not exists (select from pg_database where datname = :'name') \\gexec
select format('revoke connect on database %I from public', :'name') \\gexec
SQL
}

user whorl "$whorl_password"
user temporal "$temporal_password"
database whorl whorl
database temporal temporal
database temporal_visibility temporal
echo 'the databases of Whorl and Temporal are ready'
