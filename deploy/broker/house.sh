#!/usr/bin/env bash
# A broker for a house: Debian's mosquitto with TLS, an authority of its own, and an account per sensor and dashboard.
#
#   house.sh setup [--name HOST]...   install and configure mosquitto; HOST: further names and addresses it is reached by
#   house.sh sensor NAME              add a sensor: account, client certificate; prints what to put on it
#   house.sh dashboard NAME           add somebody who looks: reads everything; switches listening, sets, teaches
#   house.sh home-assistant NAME      add Home Assistant: as a dashboard, with a client certificate
#   house.sh history NAME             add a recorder (roomtone history record): reads everything, answers what was
#   house.sh remove NAME              take an account away; without it, its certificate opens nothing
#   house.sh list                     who there is
#
# Sensors and Home Assistant come to port 8883, with certificate and password; browsers to port 8884 (websockets, and the
# dashboard's page), with a password. There, TLS is stunnel's: over its own, mosquitto 2.0.11 promises HTTP/2 and then breaks
# off. Run as root; ROOMTONE_BROKER names another folder than /etc/mosquitto/roomtone.
#
# Cut short at any moment, by a power cut or a kill, it is run again: an account that was being added or removed then is
# taken away first, by whichever command comes next.
set -euo pipefail
umask 077
folder=${ROOMTONE_BROKER:-/etc/mosquitto/roomtone}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/durable.sh
. "$here/../durable.sh"
port=${ROOMTONE_BROKER_PORT:-8883} page_port=${ROOMTONE_PAGE_PORT:-8884}
inner_port=${ROOMTONE_INNER_PORT:-8885}
ca_days=7300 server_days=825 client_days=3650
unfinished=$folder/.unfinished # the name that is being added or removed, while it is

main() {
  case "${1:-}" in
    setup) setup "${@:2}" ;;
    sensor | dashboard | home-assistant | history) valid_name "${2:-}"; ready; add "$1" "$2" ;;
    remove) valid_name "${2:-}"; ready; remove "$2" ;;
    list) list ;;
    *) stop 2 "usage: house.sh setup [--name HOST]... | sensor NAME | dashboard NAME | home-assistant NAME | history NAME | remove NAME | list" ;;
  esac
}

# --- verbs ------------------------------------------------------------------------------------------------------------

setup() {
  local names=()
  while [ $# -gt 0 ]; do
    if [ "$1" != --name ] || [ -z "${2:-}" ]; then stop 2 "usage: house.sh setup [--name HOST]..."; fi
    names+=("$2")
    shift 2
  done
  packages
  mkdir -p "$folder/page"
  one_at_a_time
  [ -e "$folder/ca.crt" ] || make_authority
  make_server_certificate "${names[@]}"
  touch "$folder"/{sensors,dashboards}.passwords "$folder/accounts"
  finish
  write_acl
  if [ -d "$here/../../edge/dashboard" ]; then cp -r "$here/../../edge/dashboard/." "$folder/page/"; fi
  write_configuration
  readable_by_mosquitto
  if installed; then
    link "$folder/mosquitto.conf" /etc/mosquitto/conf.d/roomtone.conf
    link "$folder/stunnel.conf" /etc/stunnel/roomtone.conf
    systemctl enable --quiet mosquitto stunnel@roomtone
    systemctl restart mosquitto stunnel@roomtone
  fi
  echo "house.sh: the broker is $(cat "$folder/host"), port $port (sensors) and $page_port (browsers)"
  echo "house.sh: browsers must trust its authority once: $folder/ca.crt"
}

add() {
  local kind=$1 name=$2 word given=$folder/given/$2
  finish
  ! grep -q " $name$" "$folder/accounts" || stop 69 "$name exists already: house.sh remove $name"
  word=$(openssl rand -hex 16)
  begin "$name"
  if [ "$kind" != dashboard ]; then
    rm -rf "$given"
    mkdir -p "$given"
    make_certificate "$given/cert.pem" "$given/key.pem" "/O=roomtone/CN=$name" "$client_days" clientAuth ""
    cp "$folder/ca.crt" "$given/ca.pem"
    echo "$word" | put "$given/password" 600
  fi
  at given
  if [ "$kind" = dashboard ]; then enter dashboards "$name" "$word"; else enter sensors "$name" "$word"; fi
  at password
  { cat "$folder/accounts"; echo "$kind $name"; } | readable accounts
  at account
  write_acl
  readable_by_mosquitto
  reload
  end
  case $kind in
    sensor) say_sensor "$name" "$given" ;;
    home-assistant) say_home_assistant "$name" "$given" ;;
    history) say_history "$name" "$given" ;;
    dashboard)
      echo "address   https://$(cat "$folder/host"):$page_port/"
      echo "user      $name"
      echo "password  $word"
      ;;
  esac
}

remove() {
  if [ "$(cat "$unfinished" 2>/dev/null)" = "$1" ]; then
    finish
    return
  fi
  finish
  grep -q " $1$" "$folder/accounts" || stop 69 "there is no $1 (house.sh list)"
  begin "$1"
  take_away "$1"
}

list() {
  [ ! -e "$folder/accounts" ] || cat "$folder/accounts"
  [ ! -e "$unfinished" ] || echo "house.sh: adding or removing $(cat "$unfinished") was cut short: the next command takes it away" >&2
}

# ready: accounts are changed only where setup has come to its end.
ready() {
  [ -e "$folder/stunnel.conf" ] || stop 69 "there is no broker here yet: house.sh setup"
  one_at_a_time
}

one_at_a_time() {
  exec 9>"$folder/.lock"
  flock -w 10 9 || stop 69 "another house.sh is at work"
}

# --- adding and removing, which may be cut short ------------------------------------------------------------------------------

begin() {
  echo "$1" | put "$unfinished" 600
  at begun
}

end() {
  rm "$unfinished"
  sync "$folder"
  at end
}

finish() {
  [ -e "$unfinished" ] || return 0
  local name
  name=$(<"$unfinished")
  echo "house.sh: $name was being added or removed when that was cut short: it is taken away" >&2
  take_away "$name"
}

# First what lets it in.
take_away() {
  local file
  for file in sensors dashboards; do without "^$1:" "$file.passwords"; done
  at password-gone
  without " $1$" accounts
  at account-gone
  rm -rf "${folder:?}/given/$1" "$folder/.entry"
  write_acl
  readable_by_mosquitto
  reload
  end
}

# without PATTERN FILE: takes the lines that match out of it.
without() {
  local rest
  rest=$(sed "/$1/d" "$folder/$2" && echo .) # the point keeps the last line's end
  printf %s "${rest%.}" | readable "$2"
}

say_sensor() {
  cat <<TEXT
# 1. Its secrets, from here to the sensor, where roomtone is installed (then delete $2):
sudo tar -C $2 --owner=0 --group=0 -c ca.pem cert.pem key.pem password | ssh pi@$1 'sudo tar -x -C /etc/roomtone/credentials'
# 2. In /etc/roomtone/config.yaml on the sensor, where these keys stand already:
edge:
  device:
    id: $1
  mqtt:
    host: $(cat "$folder/host")
    port: $port
    username: $1
    password_file: password
    tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
# 3. There: sudo roomtone check --live && sudo systemctl restart roomtone
# Where $1 is one of several rooms of a machine: $1.credentials, $1.yaml, \`roomtone --instance $1\` and roomtone@$1.
TEXT
}

say_history() {
  cat <<TEXT
# 1. Its secrets, on the machine that keeps the history, where roomtone is installed (then delete $2):
sudo mkdir -p -m 700 /etc/roomtone/history
sudo cp $2/{ca.pem,cert.pem,key.pem,password} /etc/roomtone/history
# 2. There, /etc/roomtone/history.yaml:
edge:
  history:
    store: /var/lib/roomtone-history/history.sqlite
  mqtt:
    host: $(cat "$folder/host")
    port: $port
    username: $1
    password_file: password
    tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
# 3. There, from a checkout: sudo cp deploy/roomtone-history.service /etc/systemd/system
#    sudo systemctl enable --now roomtone-history
TEXT
}

say_home_assistant() {
  cat <<TEXT
# Settings > Devices & services > MQTT > Configure, with these files (then delete $2):
broker              $(cat "$folder/host"), port $port, MQTT 5
username, password  $1, $(cat "$2/password")
client certificate  $2/cert.pem, private key $2/key.pem
CA certificate      $2/ca.pem
TEXT
}

# --- certificates -------------------------------------------------------------------------------------------------------

# new_key FILE, unless there is one: a key stays, so that there is no moment at which it does not fit its certificate.
new_key() {
  local text
  [ ! -e "$1" ] || return 0
  text=$(openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt)
  put "$1" 600 <<<"$text"
  at key
}

make_authority() {
  local text
  new_key "$folder/ca.key"
  text=$(openssl req -x509 -new -sha256 -key "$folder/ca.key" -days "$ca_days" -subj "/O=roomtone/CN=roomtone house authority" \
    -addext keyUsage=critical,keyCertSign,cRLSign)
  readable ca.crt <<<"$text"
  at authority
}

# make_certificate CERTIFICATE KEY SUBJECT DAYS USE NAMES
make_certificate() {
  local text
  new_key "$2"
  { echo "basicConstraints = critical, CA:FALSE"
    echo "keyUsage = critical, digitalSignature"
    echo "extendedKeyUsage = $5"
    echo "subjectKeyIdentifier = hash"
    echo "authorityKeyIdentifier = keyid"
    [ -z "$6" ] || echo "subjectAltName = $6"
  } >"$folder/.extensions"
  text=$(openssl req -new -sha256 -key "$2" -subj "$3" |
    openssl x509 -req -sha256 -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
      -days "$4" -extfile "$folder/.extensions" 2>/dev/null)
  put "$1" 640 "$(group)" <<<"$text"
  rm "$folder/.extensions"
  at certificate
}

make_server_certificate() {
  local host name alternatives=
  host=${1:-$(hostname)}
  for name in "$@" "$(hostname)" "$(hostname).local" localhost 127.0.0.1; do
    if [[ $name =~ ^[0-9.]+$|: ]]; then alternatives+=",IP:$name"; else alternatives+=",DNS:$name"; fi
  done
  new_key "$folder/server.key"
  make_certificate "$folder/server.crt" "$folder/server.key" "/O=roomtone/CN=$host" "$server_days" serverAuth "${alternatives#,}"
  echo "$host" | readable host
}

# --- mosquitto ------------------------------------------------------------------------------------------------------------

# enter FILE NAME PASSWORD: the password goes through a file, not through a command line that others can read.
enter() {
  local entry=$folder/.entry
  echo "$2:$3" >"$entry"
  mosquitto_passwd -U "$entry"
  cat "$folder/$1.passwords" "$entry" | readable "$1.passwords"
  rm "$entry"
}

write_acl() {
  local kind name
  { echo "# Written by house.sh: what each account may do, and nobody else anything."
    while read -r kind name; do
      echo "user $name"
      case $kind in
        sensor)
          echo "topic readwrite roomtone/$name/#"
          echo "topic write homeassistant/device/$name/config"
          echo "topic write homeassistant/device/roomtone-$name/config"
          echo "topic read homeassistant/status"
          ;;
        history)
          echo "topic read roomtone/#"
          echo "topic write roomtone/history/recorder"
          echo "topic write roomtone/history/answer/#"
          ;;
        *)
          echo "topic read roomtone/#"
          echo "topic write roomtone/history/get"
          local command
          for command in listening/set settings/set teach forget; do echo "topic write roomtone/+/$command"; done
          ;;
      esac
      if [ "$kind" = home-assistant ]; then
        echo "topic read homeassistant/#"
        echo "topic write homeassistant/status"
      fi
    done <"$folder/accounts"
  } | readable acl
  at acl
}

write_configuration() {
  readable mosquitto.conf <<CONF
# Written by house.sh; Debian's /etc/mosquitto/mosquitto.conf includes it, and says where state and log are kept.
per_listener_settings true

# What was acknowledged is on disk at most this many seconds later.
autosave_interval 30
# A subscriber that was away finds this much waiting, and is forgotten after a fortnight.
max_queued_messages 10000
max_queued_bytes 50000000
persistent_client_expiration 14d
max_inflight_messages 100
max_packet_size 262144
max_keepalive 600

listener $port
allow_anonymous false
password_file $folder/sensors.passwords
acl_file $folder/acl
cafile $folder/ca.crt
certfile $folder/server.crt
keyfile $folder/server.key
tls_version tlsv1.2
require_certificate true
max_connections 400

listener $inner_port 127.0.0.1
protocol websockets
http_dir $folder/page
allow_anonymous false
password_file $folder/dashboards.passwords
acl_file $folder/acl
max_connections 100
CONF
  readable stunnel.conf <<CONF
; Written by house.sh.
foreground = yes
pid =
[page]
accept = $page_port
connect = 127.0.0.1:$inner_port
cert = $folder/server.crt
key = $folder/server.key
sslVersionMin = TLSv1.2
CONF
}

# group: mosquitto's, where it can be given one's files.
group() { if [ "$(id -u)" -eq 0 ] && getent group mosquitto >/dev/null; then echo mosquitto; fi; }

# readable FILE: standard input becomes a file in the folder that mosquitto can read from its first moment.
readable() { put "$folder/$1" 640 "$(group)"; }

# All but the authority's key and what is given away, which are root's at every moment.
readable_by_mosquitto() {
  [ -n "$(group)" ] || return 0
  find "$folder" \( -path "$folder/ca.key" -o -path "$folder/given" \) -prune -o \
    -exec chgrp mosquitto {} + -exec chmod u=rwX,g=rX,o= {} +
}

# --- this machine -----------------------------------------------------------------------------------------------------------

installed() { [ -z "${ROOMTONE_BROKER:-}" ] && [ -d /run/systemd/system ]; }

reload() {
  if installed; then systemctl try-reload-or-restart mosquitto; fi
  at reload
}

# link TARGET NAME
link() {
  [ "$(readlink "$2")" = "$1" ] || ln -sf "$1" "$2"
}

packages() {
  local missing=()
  command -v openssl >/dev/null || missing+=(openssl)
  command -v mosquitto_passwd >/dev/null || missing+=(mosquitto)
  command -v stunnel4 >/dev/null || missing+=(stunnel4)
  [ ${#missing[@]} -gt 0 ] || return 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    stop 69 "apt-get could not install ${missing[*]}"
}

valid_name() {
  [[ $1 =~ ^[a-z0-9-]{1,64}$ ]] || stop 2 "name '$1': expected a-z, 0-9 and - (it stands in topics)"
  [ "$1" != history ] || stop 2 "name 'history': on roomtone/history/ a recorder answers: take another"
}

stop() {
  echo "house.sh: $2" >&2
  exit "$1"
}

main "$@"
