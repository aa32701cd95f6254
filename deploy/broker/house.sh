#!/usr/bin/env bash
# A broker for a house: Debian's mosquitto with TLS, an authority of its own, and an account per sensor and dashboard.
#
#   house.sh setup [--name HOST]...   install and configure mosquitto; HOST: further names and addresses it is reached by
#   house.sh share HOST               for a second broker, at HOST, that is used where this one is away: writes to standard
#                                     output what goes through a pipe to its `setup --standby-of`; again after each change here
#   house.sh setup --standby-of HOST  be that second broker of the one at HOST: reads what that one's `share` writes
#   house.sh renew [NAME]             certificates anew: the broker's, and the second one's; or an account's, with a new key
#   house.sh sensor NAME              add a sensor: account, client certificate; prints what to put on it
#   house.sh dashboard NAME           add somebody who looks: reads everything; switches listening, sets, teaches
#   house.sh home-assistant NAME      add Home Assistant: as a dashboard, with a client certificate
#   house.sh history NAME             add a recorder (roomtone history record): reads everything, answers what was
#   house.sh models NAME              add whoever publishes models (roomtone model publish): writes those, commands updates
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
open_files=8192 # a connection is one
ca_days=7300 server_days=825 client_days=3650
shares=(ca.crt standby.crt standby.key sensors.passwords dashboards.passwords accounts host standby-host)
unfinished=$folder/.unfinished # the name that is being added or removed, while it is

main() {
  case "${1:-}" in
    setup) setup "${@:2}" ;;
    sensor | dashboard | home-assistant | history | models) valid_name "${2:-}"; ready; add "$1" "$2" ;;
    share) ready; share "${2:-}" ;;
    renew) ready; renew "${@:2}" ;;
    remove) valid_name "${2:-}"; ready; remove "$2" ;;
    list) list ;;
    *) stop 2 "usage: house.sh setup [--name HOST]... | setup --standby-of HOST | share HOST | renew [NAME] | sensor NAME | dashboard NAME | home-assistant NAME | history NAME | models NAME | remove NAME | list" ;;
  esac
}

# --- verbs ------------------------------------------------------------------------------------------------------------

setup() {
  local names=()
  if [ "${1:-}" = --standby-of ]; then
    [ $# -eq 2 ] || stop 2 "usage: house.sh setup --standby-of HOST"
    setup_standby "$2"
    return
  fi
  while [ $# -gt 0 ]; do
    if [ "$1" != --name ] || [ -z "${2:-}" ]; then stop 2 "usage: house.sh setup [--name HOST]..."; fi
    names+=("$2")
    shift 2
  done
  packages
  mkdir -p "$folder/page"
  one_at_a_time
  [ ! -e "$folder/standby-of" ] || stop 69 "this is the second broker of $(cat "$folder/standby-of"): house.sh setup --standby-of"
  [ -e "$folder/ca.crt" ] || make_authority
  make_server_certificate server host "${names[@]}" "$(hostname)" "$(hostname).local" localhost 127.0.0.1
  touch "$folder"/{sensors,dashboards}.passwords "$folder/accounts"
  finish
  serve
}

# serve: what stands in the folder goes into effect.
serve() {
  write_acl
  if [ -d "$here/../../edge/dashboard" ]; then cp -r "$here/../../edge/dashboard/." "$folder/page/"; fi
  write_configuration
  readable_by_mosquitto
  if installed; then
    link "$folder/mosquitto.conf" /etc/mosquitto/conf.d/roomtone.conf
    link "$folder/stunnel.conf" /etc/stunnel/roomtone.conf
    install -d -m 755 /etc/systemd/system/mosquitto.service.d
    printf '[Service]\nLimitNOFILE=%s\n' "$open_files" | put /etc/systemd/system/mosquitto.service.d/roomtone.conf 644
    systemctl daemon-reload
    systemctl enable --quiet mosquitto stunnel@roomtone
    systemctl restart mosquitto stunnel@roomtone
  fi
  echo "house.sh: the broker is $(cat "$folder/host"), port $port (sensors) and $page_port (browsers)"
  echo "house.sh: browsers must trust its authority once: $folder/ca.crt"
}

# share HOST: a certificate for it, and who is let in here; the authority's key stays.
share() {
  [ -n "$1" ] || stop 2 "usage: house.sh share HOST, into a pipe to house.sh setup --standby-of $(cat "$folder/host") there"
  [ ! -t 1 ] || stop 2 "share writes keys: into a pipe, to house.sh setup --standby-of on $1"
  finish
  make_server_certificate standby standby-host "$1" localhost
  readable_by_mosquitto
  tar -C "$folder" -c "${shares[@]}"
}

# setup_standby HOST: takes what the first broker shares from standard input.
setup_standby() {
  local file shared=$folder/.shared
  [ ! -e "$folder/ca.key" ] || stop 69 "this is a broker of its own, with an authority: its second one is another machine"
  [ ! -t 0 ] || stop 2 "what \`house.sh share\` writes on $1 is expected on standard input"
  packages
  mkdir -p "$folder/page"
  one_at_a_time
  rm -rf "$shared"
  mkdir "$shared"
  if ! tar -C "$shared" --no-same-owner -x "${shares[@]}" 2>/dev/null ||
    ! openssl verify -CAfile "$shared/ca.crt" "$shared/standby.crt" >/dev/null 2>&1; then
    stop 66 "standard input is not what \`house.sh share\` writes on $1"
  fi
  at shared
  [ "$1" = "$(cat "$shared/host")" ] || stop 2 "what came is of the broker $(cat "$shared/host"), not of $1"
  put "$folder/standby-of" 640 "$(group)" <"$shared/host"
  for file in ca.crt sensors.passwords dashboards.passwords accounts; do readable "$file" <"$shared/$file"; done
  at taken
  readable host <"$shared/standby-host"
  put "$folder/server.key" 600 <"$shared/standby.key" # the same each time, as it stays with the first broker
  readable server.crt <"$shared/standby.crt"
  rm -r "$shared"
  serve
}

# renew [NAME]: what is given stays as it is until the owner puts the new one in its place.
renew() {
  local name=${1:-} names
  finish
  if [ -z "$name" ]; then
    [ -e "$folder/server.names" ] || stop 69 "by which names it is reached is not kept yet: house.sh setup --name HOST, once more"
    for name in server standby; do
      [ -e "$folder/$name.names" ] || continue
      read -ra names <"$folder/$name.names"
      make_server_certificate "$name" "$([ $name = server ] && echo host || echo standby-host)" "${names[@]}"
    done
    serve
    [ ! -e "$folder/standby.crt" ] || echo "house.sh: the second broker takes its own with: house.sh share $(cat "$folder/standby-host")"
    return
  fi
  valid_name "$name"
  grep -q " $name$" "$folder/accounts" || stop 69 "there is no $name (house.sh list)"
  ! grep -q "^dashboard $name$" "$folder/accounts" || stop 69 "$name is a dashboard, which has a password and no certificate"
  rm -rf "$folder/given/$name"
  mkdir -p "$folder/given/$name"
  make_certificate "$folder/given/$name"/{cert,key}.pem "/O=roomtone/CN=$name" "$client_days" clientAuth ""
  cp "$folder/ca.crt" "$folder/given/$name/ca.pem"
  echo "house.sh: for $name, in the place of those it has (its password stays): $folder/given/$name/{ca,cert,key}.pem"
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
    models) say_models "$name" "$given" ;;
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
  [ ! -e "$folder/standby-of" ] || stop 69 "this is the second broker of $(cat "$folder/standby-of"): do it there, then share again"
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

# hosts: the broker's name, or those of both.
hosts() {
  if [ -e "$folder/standby-host" ]; then echo "[$(cat "$folder/host"), $(cat "$folder/standby-host")]"; else cat "$folder/host"; fi
}

# say_mqtt ACCOUNT: how it reaches the broker, as a piece of a configuration.
say_mqtt() {
  cat <<TEXT
  mqtt:
    host: $(hosts)
    port: $port
    username: $1
    password_file: password
    tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
TEXT
}

say_sensor() {
  cat <<TEXT
# 1. Its secrets, from here to the sensor, where roomtone is installed (then delete $2):
sudo tar -C $2 --owner=0 --group=0 -c ca.pem cert.pem key.pem password | ssh pi@$1 'sudo tar -x -C /etc/roomtone/credentials'
# 2. In /etc/roomtone/config.yaml on the sensor, where these keys stand already:
edge:
  device:
    id: $1
$(say_mqtt "$1")
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
    # metrics: 127.0.0.1:9464    and somebody can be told when a sensor falls silent: deploy/monitoring/README.md
$(say_mqtt "$1")
# 3. There, from a checkout: sudo cp deploy/roomtone-history.service /etc/systemd/system
#    sudo systemctl enable --now roomtone-history
TEXT
}

say_models() {
  cat <<TEXT
# 1. Its secrets, to where models are signed and published from (then delete $2):
#    $2/{ca.pem,cert.pem,key.pem,password}
# 2. There, beside them, models.yaml:
edge:
$(say_mqtt "$1")
# 3. There: roomtone --config models.yaml model publish my-model.tflite --ring canary
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

# make_server_certificate FILE HOST-FILE NAME...: the first name is that by which it is reached.
make_server_certificate() {
  local file=$1 host_file=$2 name alternatives=
  shift 2
  for name in "$@"; do
    if [[ $name =~ ^[0-9.]+$|: ]]; then alternatives+=",IP:$name"; else alternatives+=",DNS:$name"; fi
  done
  new_key "$folder/$file.key"
  make_certificate "$folder/$file.crt" "$folder/$file.key" "/O=roomtone/CN=$1" "$server_days" serverAuth "${alternatives#,}"
  echo "$*" | readable "$file.names"
  echo "$1" | readable "$host_file"
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
          echo "topic read roomtone/models/#"
          echo "topic write homeassistant/device/$name/config"
          echo "topic write homeassistant/device/roomtone-$name/config"
          echo "topic read homeassistant/status"
          ;;
        history)
          echo "topic read roomtone/#"
          echo "topic write roomtone/history/recorder"
          echo "topic write roomtone/history/answer/#"
          ;;
        models)
          echo "topic read roomtone/#"
          echo "topic write roomtone/models/#"
          echo "topic write roomtone/+/model/install"
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
        echo "topic write roomtone/+/model/install"
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
# So many, too, are what 2,000 sensors retain, which a page is sent when it opens.
max_queued_messages 50000
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
# Two of each of 2,000 sensors (its switch has one of its own), and of those who read.
max_connections 4200

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

# All but the authority's key, the second broker's and what is given away, which are root's at every moment.
readable_by_mosquitto() {
  [ -n "$(group)" ] || return 0
  find "$folder" \( -path "$folder/ca.key" -o -path "$folder/standby.key" -o -path "$folder/given" \) -prune -o \
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
  case $1 in
    history) stop 2 "name 'history': on roomtone/history/ a recorder answers: take another" ;;
    models) stop 2 "name 'models': on roomtone/models/ models are published: take another" ;;
  esac
}

stop() {
  echo "house.sh: $2" >&2
  exit "$1"
}

main "$@"
