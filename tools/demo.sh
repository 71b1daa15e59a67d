#!/usr/bin/env bash
# A throwaway PostgreSQL with a small platform, backed up into a directory, shown, and removed again.
#
#   tools/demo.sh            run it (make demo installs first what is missing)
#   DEMO_KEEP=1 tools/demo.sh    leave server and store for a look around; prints how to stop it
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bin=${DEMO_PG_BIN:-/usr/lib/postgresql/15/bin}
target=${CARGO_TARGET_DIR:-$root/target}/debug
[ -x "$bin/initdb" ] || { echo "demo: $bin/initdb is missing: run 'make demo', which installs it" >&2; exit 1; }

bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }

work=$(mktemp -d /tmp/plana-demo.XXXXXX)
chmod 755 "$work"
# PostgreSQL refuses to run as root.
as_server() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi; }
cleanup() {
  status=$?
  if [ "${DEMO_KEEP:-}" = 1 ] && [ "$status" = 0 ]; then
    say "Kept. The store is $work/store; psql -h $work -U postgres"
    echo "Stop and remove it with: $bin/pg_ctl -D $work/data stop -m immediate; rm -rf $work"
  else
    as_server "$bin/pg_ctl" -D "$work/data" stop -m immediate -s 2>/dev/null || true
    rm -rf "$work"
  fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Building (the first time takes a few minutes)"
cargo build --locked --package pg-dump-to-sos --package filestore-tarball --package insurance-snapshot --package restore-from-sos \
  --package partition-roller --package retention-pruner
export PATH=$target:$bin:$PATH

say "Starting a throwaway PostgreSQL and filling it with a small platform"
mkdir "$work/data" "$work/store" "$work/state" "$work/filestore"
[ "$(id -u)" != 0 ] || chown postgres "$work/data"
[ "$(id -u)" != 0 ] || chown postgres "$work"
as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --no-sync >"$work/initdb.log"
as_server "$bin/pg_ctl" -D "$work/data" -w -s -l "$work/data/server.log" \
  -o "-c listen_addresses= -c unix_socket_directories=$work -c fsync=off -c full_page_writes=off -c max_wal_size=256MB" start
export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
unset PGPORT PGPASSWORD PGSERVICE PGSERVICEFILE PGPASSFILE PGOPTIONS
tests/platform/make --filestore "$work/filestore"
psql -X -c "SELECT datname AS database, pg_get_userbyid(datdba) AS owner, pg_size_pretty(pg_database_size(oid)) AS size
  FROM pg_database WHERE datname NOT LIKE 'template_' ORDER BY 1"

export PLANA_JOBS_CONFIG=$root/config/demo.toml PLANA_JOBS__STATE_DIR=$work/state
store=file://$work/store
say "Is everything in order?"
run pg-dump-to-sos --store "$store" check

say "The backup: every database, each dump read to its end and proven before it counts"
run pg-dump-to-sos --store "$store"

say "The file stores, after the dumps: every file compared with the SHA-1 that names it, and with what the database names"
# Somebody has deleted a file that a row still names, and a disk has damaged another: known gaps, listed and told.
lost=$(psql -XAt -d globex.planapulse.app -c "SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY id LIMIT 1")
damaged=$(psql -XAt -d globex.planapulse.app -c "SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY id DESC LIMIT 1")
rm "$work/filestore/globex.planapulse.app/$lost"
printf 'x' | dd of="$work/filestore/globex.planapulse.app/$damaged" bs=1 conv=notrunc status=none
touch -d '1 hour ago' "$work/filestore/globex.planapulse.app/$damaged"
run filestore-tarball --root "$work/filestore" --store "$store"

say "Both checked against each other: each file that the tenant's dump names is in the tarball, and is what it was"
tarball=$(find "$work/store/filestore/acme.planapulse.app" -name '*.tar.gz')
mkdir "$work/unpacked"
tar xzf "$tarball" -C "$work/unpacked"
# From a file: pg_restore does not read a pipe to its end when it has found its table.
zstd -dq "$(find "$work/store/pg/acme.planapulse.app" -name '*.dump.zst')" -o "$work/acme.dump"
pg_restore --data-only -t ir_attachment -f - "$work/acme.dump" |
  awk -F '\t' '/^COPY/ {split($0, head, /[(), ]+/); for (i in head) if (head[i] == "store_fname") at = i - 2; on = 1; next}
    /^\\\./ {on = 0} on && $at != "\\N" {name = $at; sub(/.*\//, "", name); print name "  " $at}' | sort -u >"$work/named"
(cd "$work/unpacked" && sha1sum --quiet -c "$work/named")
echo "all $(wc -l <"$work/named") files that the dump names are in the tarball, each with the SHA-1 that names it"

say "What was stored"
(cd "$work/store" && find . -type f -printf '%10s  %P\n' | sort -k2)

say "What a manifest says of one tenant"
manifest=$(find "$work/store/pg/acme.planapulse.app" -name manifest.json)
cut -c1-150 "$manifest" | head -60
echo "  …"

counts="SELECT format('%s.%s', n.nspname, c.relname), (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM ONLY %I.%I',
  n.nspname, c.relname), false, true, '')))[1]::text::bigint
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY 1"
same_rows() { diff <(psql -XAt -d acme.planapulse.app -c "$counts") <(psql -XAt -d "$1" -c "$counts"); }

say "Nothing but standard tools: restore that tenant beside itself and compare every table's rows"
dump=$(find "$work/store/pg/acme.planapulse.app" -name '*.dump.zst')
recorded=$(sed -n 's/.*"stored_sha256": "\(.*\)".*/\1/p' "$manifest")
echo "$recorded  $dump" | sha256sum -c - | sed "s|$work/||"
createdb restored
zstd -dc "$dump" | pg_restore --exit-on-error -d restored
same_rows restored
dropdb restored
echo "the restored database has the same rows in each of its $(psql -XAt -d acme.planapulse.app -c "$counts" | wc -l) tables"

say "What there is, and whether the newest of each is whole: read back to its end, hashes and rows compared"
export PLANA_JOBS__STORE__BACKUPS__URL=$store
run restore-from-sos list '*.planapulse.app' --long
run restore-from-sos check --latest '*.planapulse.app' --area pg

say "Restore with one command: a tenant beside itself, by a role that is no superuser, its rows counted again"
psql -Xq -c "CREATE ROLE plana_restore LOGIN CREATEDB IN ROLE plana"
PGUSER=plana_restore run restore-from-sos restore acme.planapulse.app --into acme_copy
same_rows acme_copy

say "A tenant with its files, compared with each other: the deleted and the damaged file are listed by attachment"
PGUSER=plana_restore run restore-from-sos restore-tenant globex.planapulse.app --into globex_copy --to "$work/globex_copy"
diff -r "$work/filestore/globex.planapulse.app" "$work/globex_copy" && echo "the restored files are those of the store"
dropdb globex_copy

say "Somebody breaks the tenant; it comes back in its place, and the broken one is kept"
psql -Xq -d acme.planapulse.app -c "DELETE FROM mail_message"
PGUSER=plana_restore run restore-from-sos restore acme.planapulse.app --replace
same_rows acme_copy
psql -XAt -c "SELECT datname || CASE WHEN datallowconn THEN '' ELSE ' (nobody may connect)' END FROM pg_database WHERE datname LIKE 'acme%' ORDER BY 1"

say "A schema change under insurance: it begins only once database and files are stored and proven, and it goes wrong"
bakery=bakery.planapulse.app
psql -XAt -d "$bakery" -c "$counts" >"$work/bakery.before"
cp -a "$work/filestore/$bakery" "$work/bakery.files"
set +e
run insurance-snapshot --tenant "$bakery" --operation merge-messages --root "$work/filestore" --store "$store" --receipt "$work/receipt.json" \
  -- psql -Xq -v ON_ERROR_STOP=1 -d "$bakery" -c 'DROP TABLE ir_attachment' -c 'DELETE FROM mail_message' -c 'SELECT 1/0'
echo "the operation's own exit code: $?"
set -e
rm -rf "${work:?}/filestore/$bakery"

say "Back by the receipt's own command"
restore=$(sed -n 's/^ *"restore": "\(.*\)".*/\1/p' "$work/receipt.json")
printf '\n%s$ %s%s\n' "$bold" "$restore" "$plain"
PGUSER=plana_restore bash -c "$restore"
diff "$work/bakery.before" <(psql -XAt -d "$bakery" -c "$counts") && diff -r "$work/bakery.files" "$work/filestore/$bakery" &&
  echo "every table has its rows again, and every file is there"
run restore-from-sos list "$bakery" --area insurance

say "What alerts and the dashboard see: the last run, and a check that leaves what it found"
mkdir -p "$work/metrics"
export PLANA_JOBS__METRICS__TEXTFILE_DIR=$work/metrics
pg-dump-to-sos --store "$store" check --metrics >/dev/null 2>&1 || echo "(check finds problems here: databases to which the demo lets nobody connect)"
pg-dump-to-sos --store "$store" --missing-within 12h --quiet >/dev/null
grep -v '^#' "$work/metrics/plana_jobs_pg_dump_to_sos.prom" | grep -E 'last_|needless|newest.*acme'
unset PLANA_JOBS__METRICS__TEXTFILE_DIR

say "Run it again: whatever has a fresh backup is left alone"
run pg-dump-to-sos --store "$store" --missing-within 12h --exclude acme_copy
say "Templates as seeds, each under the SHA of its content: published once, known the second time, and another SHA for one changed row"
export PLANA_JOBS__STORE__TEMPLATES__URL=file://$work/seeds
template=basic-template-18.planapulse.app
run pg-dump-to-sos --templates
run pg-dump-to-sos --templates
psql -Xq -d "$template" -c "CREATE TABLE shuffled AS SELECT * FROM mail_message" -c "DELETE FROM mail_message" \
  -c "INSERT INTO mail_message SELECT * FROM shuffled ORDER BY md5(id::text)" -c "DROP TABLE shuffled"
echo "(its messages lie in another order now; that is the same content)"
run pg-dump-to-sos --templates --only "$template"
psql -Xq -d "$template" -c "UPDATE mail_message SET subject = 'changed' WHERE id = (SELECT min(id) FROM mail_message)"
run pg-dump-to-sos --templates --only "$template"

say "A seed is found by the beginning of its SHA, checked, and restored as a new database"
run restore-from-sos seed list
sha=$(restore-from-sos seed list "$template" | awk -F'[@ ]' 'END { print substr($2, 1, 12) }')
run restore-from-sos seed check "$template@$sha"
PGUSER=plana_restore run restore-from-sos seed restore "$template@$sha" --into new_tenant
psql -XAt -d new_tenant -c "SELECT 'new_tenant has ' || count(*) || ' messages'  FROM mail_message"
dropdb new_tenant
say "Exo: a dump and recordings that are unreadable without a key, which is put away in a store of its own, for two offline identities"
createdb exo
psql -Xq -d exo -f tests/platform/exo.sql
mkdir "$work/casts" "$work/offline"
echo "a sealed recording" >"$work/casts/session-1.cast"
age-keygen -o "$work/offline/one.key" 2>/dev/null && age-keygen -o "$work/offline/two.key" 2>/dev/null
public() { sed -n 's/^# public key: //p' "$work/offline/$1.key"; }
# As on Exo's own host: its variables, and config/exo.toml with these stores, these identities, and nothing to wait for between
# detaching and dropping.
sed '/^grace/d' config/exo.toml >"$work/exo.toml"
export EXO_DATABASE_DSN="host=$work dbname=exo user=postgres" EXO_CAST_STORAGE_DIR=$work/casts
EXO_ENCRYPTION_KEY=$(head -c 32 /dev/urandom | base64)
exo() { # job, arguments
  local job=$1
  shift
  env PLANA_JOBS__STORE__BACKUPS__URL="$store" PLANA_JOBS__STORE__ESCROW__URL="file://$work/escrow" \
    PLANA_JOBS__ESCROW__RECIPIENTS="[\"$(public one)\", \"$(public two)\"]" "$job" --config "$work/exo.toml" "$@"
}
with_key() { EXO_ENCRYPTION_KEY=$EXO_ENCRYPTION_KEY exo "$@"; }
run with_key pg-dump-to-sos --only exo --no-globals
# The variable takes the place of a connection string in keywords; here it is a URL.
EXO_DATABASE_DSN="postgres://postgres@/exo?host=$work" run with_key filestore-tarball
exo_set=$(cd "$work/store" && find pg/exo -mindepth 1 -maxdepth 1)
exo restore-from-sos show "$exo_set" | grep 'requires key'
run exo restore-from-sos escrow list

say "Restored only with the key that it was written with"
EXO_ENCRYPTION_KEY=another PGUSER=plana_restore exo restore-from-sos restore exo --into exo_copy --dsn "host=$work dbname=postgres user=plana_restore" &&
  exit 1 || [ $? = 20 ]
run exo restore-from-sos escrow recover EXO_ENCRYPTION_KEY --identity "$work/offline/two.key" --to "$work/exo.key"
[ "$(cat "$work/exo.key")" = "$EXO_ENCRYPTION_KEY" ] && echo "the recovered key is the one that was put away"
run exo restore-from-sos restore exo --into exo_copy --key "EXO_ENCRYPTION_KEY=$work/exo.key" --no-owner \
  --dsn "host=$work dbname=postgres user=plana_restore"
run exo restore-from-sos restore-filestore exo-casts --to "$work/casts_back" --key "EXO_ENCRYPTION_KEY=$work/exo.key"
diff -r "$work/casts" "$work/casts_back" && echo "the recordings are back"
dropdb exo_copy

say "Partitions: tables like Exo's, by month; this month's is missing, one has expired, and a deployment keeps its rows for 40 days only"
roller() { with_key partition-roller "$@"; }
audit() { psql -XAt -d exo -c "SELECT count(*) || ' rows since ' || min(at)::date FROM audit_log"; }
before=$(audit)
counts="SELECT deployment_id AS deployment, count(*) AS rows, date_trunc('day', now() - min(at)) AS oldest FROM session_events GROUP BY 1 ORDER BY 1"
psql -X -d exo -c "$counts"
roller check || echo "(as it should, check ends with a code that is not 0: inserts of today fail)"
run roller --dry-run --only public.audit_log

say "The missing month is made, the expired one archived and dropped, the shorter window enforced"
run roller
psql -X -d exo -c "$counts"
psql -Xq -d exo -c "INSERT INTO session_events (at, deployment_id, body) VALUES (now(), 1, 'a row of today has its place again')"
run restore-from-sos list --area partition --long

say "And what was dropped comes back from its archive, to its place"
echo "the audit log has $(audit)"
(cd "$work/store" && find partition/exo/public -name manifest.json -path '*audit_log*' -printf '%h\n') | while read -r archive; do
  with_key restore-from-sos restore-partition "$archive" --as-superuser
done
echo "the audit log has $(audit)"
[ "$(audit)" = "$before" ]

say "Retention: a year of nights of three names, one of which is no longer backed up, and the plan for them"
# Copies of today's sets, as they would have been made on earlier days.
aged() { # name, label, days ago
  local from to stamp day
  from=$(find "$work/store/pg/$1" -mindepth 1 -maxdepth 1 | sort | tail -n 1)
  day=$(date -u -d "$3 days ago" +%Y%m%d) stamp=$(basename "$from" | cut -d. -f1)
  to=$work/store/pg/$1/${day}${stamp:8}.$2.$(printf '%08x' "$3")
  mkdir "$to"
  for file in "$from"/*; do cp "$file" "$to/$(basename "$file" | sed "s/$stamp/${day}${stamp:8}/")"; done
  touch -d "$3 days ago" "$to"/*
}
for day in 364 200 95 91 60 40 31 29 2 1; do aged bakery.planapulse.app starter "$day"; done
for day in 400 300 100 20 1; do aged acme.planapulse.app enterprise "$day"; done
cp -a "$work/store/pg/bakery.planapulse.app" "$work/store/pg/gone.planapulse.app"
find "$work/store/pg/gone.planapulse.app" -name '*bakery*' | while read -r file; do mv "$file" "${file/bakery.planapulse.app_/gone.planapulse.app_}"; done
find "$work/store/pg/gone.planapulse.app" -name manifest.json -newermt '25 days ago' -printf '%h\n' | xargs rm -r
rm "$(find "$work/store/pg/bakery.planapulse.app" -name '*.starter.00000028' -print)/manifest.json"
echo "somebody's notes" >"$work/store/README"
export PLANA_JOBS__RETENTION__STORES="[\"$store\"]"
run retention-pruner --dry-run
held=$(cd "$work/store" && find pg/bakery.planapulse.app -mindepth 1 -maxdepth 1 -name '*.starter.0000016c')
run retention-pruner --explain "$held"
run retention-pruner hold "$held"
run retention-pruner retire gone.planapulse.app

say "Nothing is deleted before it is allowed; then it is, and what the plan said is what went"
retention-pruner && exit 1 || [ $? = 20 ]
PLANA_JOBS__RETENTION__ENABLED=true run retention-pruner
[ -d "$work/store/$held" ] && [ -e "$work/store/README" ] && echo "what was held and what nobody knows is still there"

say "A registry's mirror: one image is pulled twice a day, another by nobody for a year; both share a layer"
registry=$work/mirror/docker/registry/v2
content() { # text, days ago: stores a blob and prints its digest
  local hex
  hex=$(printf %s "$1" | sha256sum | cut -d' ' -f1)
  mkdir -p "$registry/blobs/sha256/${hex:0:2}/$hex"
  printf %s "$1" >"$registry/blobs/sha256/${hex:0:2}/$hex/data"
  touch -d "$2 days ago" "$registry/blobs/sha256/${hex:0:2}/$hex/data"
  echo "$hex"
}
link() { # path in the repository, digest, days ago
  mkdir -p "$registry/repositories/$1"
  printf 'sha256:%s' "$2" >"$registry/repositories/$1/link"
  touch -d "$3 days ago" "$registry/repositories/$1/link"
}
image() { # repository, tag, days ago
  local config layer shared manifest
  config=$(content "the configuration of $1" "$3") layer=$(content "a layer of $1" "$3") shared=$(content "a layer of many" 400)
  for part in "$config" "$layer" "$shared"; do link "$1/_layers/sha256/$part" "$part" "$3"; done
  manifest=$(content "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:$config\"},\"layers\":[{\"digest\":\"sha256:$layer\"},{\"digest\":\"sha256:$shared\"}]}" "$3")
  link "$1/_manifests/revisions/sha256/$manifest" "$manifest" "$3"
  link "$1/_manifests/tags/$2/current" "$manifest" "$3"
  link "$1/_manifests/tags/$2/index/sha256/$manifest" "$manifest" "$3"
}
image library/nginx 1.27 365
image library/redis 6 365
for hour in $(seq 960 -12 0); do
  echo "10.0.0.7 - - [$(date -u -d "$hour hours ago" '+%d/%b/%Y:%H:%M:%S +0000')] \"GET /v2/library/nginx/manifests/1.27 HTTP/1.1\" 200 1024 \"\" \"docker/27\""
done >"$work/access.log"
retention-pruner ledger <"$work/access.log" >"$work/pulls.jsonl"
head -n 1 "$work/pulls.jsonl"
mirror() {
  PLANA_JOBS__MIRROR__STORES="[\"file://$work/mirror\"]" PLANA_JOBS__MIRROR__LEDGER="[\"$work/pulls.jsonl\"]" \
    retention-pruner mirror --store "file://$work/mirror" "$@"
}
run mirror --dry-run
PLANA_JOBS__MIRROR__ENABLED=true run mirror
(cd "$registry/repositories" && find . -path '*_manifests/tags*' -name link -path '*current*')
[ -e "$registry/repositories/library/nginx/_manifests/tags/1.27/current/link" ] && [ ! -e "$registry/repositories/library/redis/_manifests/tags/6/current/link" ]
find "$registry/blobs" -name data -exec grep -l "a layer of many" {} + >/dev/null && echo "the layer that both had is still there"

say "Done. Server and store are removed again."
