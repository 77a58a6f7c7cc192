#!/usr/bin/env bash
# A real forge of its own for tests, over TLS with an authority of its own: gitea.sh FOLDER ADDRESS:PORT
# Runs in the foreground. When FOLDER/ready is there: FOLDER/token is the administrator's (user boss), FOLDER/ca.crt vouches for it,
# FOLDER/token-of NAME SCOPES makes users with scoped tokens.
set -euo pipefail
(($# == 2)) || { echo "usage: gitea.sh FOLDER ADDRESS:PORT" >&2; exit 1; }
program="$("$(dirname "$0")/cluster/gitea/build.sh")"
folder="$(realpath -m "$1")" address="${2%:*}" port="${2##*:}"
rm -rf "$folder"
mkdir -p "$folder/custom/conf"
cd "$folder"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Authority of the tests" \
  -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=gitea" -keyout tls.key -out tls.csr 2>/dev/null
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -days 30 -out tls.crt 2>/dev/null \
  -extfile <(printf 'subjectAltName=IP:%s\nbasicConstraints=CA:FALSE\n' "$address")

cat >custom/conf/app.ini <<END
RUN_USER = $(id -un)
$( ((EUID)) || echo "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true")
[server]
PROTOCOL = https
CERT_FILE = $folder/tls.crt
KEY_FILE = $folder/tls.key
HTTP_ADDR = $address
HTTP_PORT = $port
ROOT_URL = https://$address:$port/
STATIC_ROOT_PATH = $program/static
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = $folder/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = of-the-tests
INTERNAL_TOKEN = $(openssl rand -hex 32)
[repository]
ROOT = $folder/repositories
[webhook]
ALLOWED_HOST_LIST = *
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[log]
LEVEL = warn
END
export GITEA_WORK_DIR="$folder" GITEA_CUSTOM="$folder/custom" HOME="$folder"
gitea() { "$program/gitea" --config "$folder/custom/conf/app.ini" "$@"; }
gitea migrate >migrate.log 2>&1 || { cat migrate.log >&2; exit 1; }
gitea admin user create --admin --username boss --password "$(openssl rand -hex 16)" --email boss@gitea.example \
  --must-change-password=false >/dev/null
gitea admin user generate-access-token --username boss --token-name all --scopes all --raw 2>/dev/null | tail -n 1 >token

cat >token-of <<END
#!/usr/bin/env bash
# A token of a user, who is made if need be: token-of NAME SCOPES, such as read:repository
set -euo pipefail
export GITEA_WORK_DIR="$folder" GITEA_CUSTOM="$folder/custom" HOME="$folder"
gitea() { "$program/gitea" --config "$folder/custom/conf/app.ini" "\$@"; }
gitea admin user create --username "\$1" --password "\$(openssl rand -hex 16)" --email "\$1@gitea.example" \\
  --must-change-password=false >/dev/null 2>&1 || true
gitea admin user generate-access-token --username "\$1" --token-name "t-\$(openssl rand -hex 4)" --scopes "\$2" --raw 2>/dev/null | tail -n 1
END
chmod +x token-of

(
  until curl --silent --fail --cacert ca.crt "https://$address:$port/api/v1/version" >/dev/null; do sleep 0.2; done
  touch ready
) &
exec "$program/gitea" --config "$folder/custom/conf/app.ini" web
