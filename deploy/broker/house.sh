#!/usr/bin/env bash
# A broker for a house: Debian's mosquitto with TLS, an authority of its own, and an account per sensor and dashboard.
#
#   house.sh setup [--name HOST]...   install and configure mosquitto; HOST: further names and addresses it is reached by
#   house.sh sensor NAME              add a sensor: account, client certificate; prints what to put on it
#   house.sh dashboard NAME           add somebody who looks: reads everything, and may switch listening
#   house.sh home-assistant NAME      add Home Assistant: as a dashboard, with a client certificate
#   house.sh remove NAME              take an account away; without it, its certificate opens nothing
#   house.sh list                     who there is
#
# Sensors and Home Assistant come to port 8883, with certificate and password; browsers to port 8884 (websockets, and the
# dashboard's page), with a password. There, TLS is stunnel's: over its own, mosquitto 2.0.11 promises HTTP/2 and then breaks
# off. Run as root; ROOMTONE_BROKER names another folder than /etc/mosquitto/roomtone.
set -euo pipefail
umask 077
folder=${ROOMTONE_BROKER:-/etc/mosquitto/roomtone}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${ROOMTONE_BROKER_PORT:-8883} page_port=${ROOMTONE_PAGE_PORT:-8884}
inner_port=${ROOMTONE_INNER_PORT:-8885}
ca_days=7300 server_days=825 client_days=3650

main() {
  case "${1:-}" in
    setup) setup "${@:2}" ;;
    sensor | dashboard | home-assistant) valid_name "${2:-}"; add "$1" "$2" ;;
    remove) valid_name "${2:-}"; remove "$2"; reload ;;
    list) if [ -e "$folder/accounts" ]; then cat "$folder/accounts"; fi ;;
    *) stop 2 "usage: house.sh setup [--name HOST]... | sensor NAME | dashboard NAME | home-assistant NAME | remove NAME | list" ;;
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
  [ -e "$folder/ca.key" ] || make_authority
  make_server_certificate "${names[@]}"
  touch "$folder"/{sensors,dashboards}.passwords "$folder/accounts"
  write_acl
  if [ -d "$here/../../edge/dashboard" ]; then cp -r "$here/../../edge/dashboard/." "$folder/page/"; fi
  write_configuration
  readable_by_mosquitto
  if installed; then
    ln -sf "$folder/mosquitto.conf" /etc/mosquitto/conf.d/roomtone.conf
    ln -sf "$folder/stunnel.conf" /etc/stunnel/roomtone.conf
    systemctl enable --quiet mosquitto stunnel@roomtone
    systemctl restart mosquitto stunnel@roomtone
  fi
  echo "house.sh: the broker is $(cat "$folder/host"), port $port (sensors) and $page_port (browsers)"
  echo "house.sh: browsers must trust its authority once: $folder/ca.crt"
}

add() {
  local kind=$1 name=$2 word
  [ -e "$folder/ca.key" ] || stop 69 "there is no broker here yet: house.sh setup"
  ! grep -q " $name$" "$folder/accounts" || stop 69 "$name exists already: house.sh remove $name"
  word=$(openssl rand -hex 16)
  case $kind in
    sensor) enter sensors "$name" "$word" ;;
    home-assistant) enter sensors "$name" "$word" ;;
    dashboard) enter dashboards "$name" "$word" ;;
  esac
  echo "$kind $name" >>"$folder/accounts"
  write_acl
  readable_by_mosquitto
  reload
  if [ "$kind" = dashboard ]; then
    echo "address   https://$(cat "$folder/host"):$page_port/"
    echo "user      $name"
    echo "password  $word"
    return
  fi
  local given=$folder/given/$name
  rm -rf "$given"
  mkdir -p "$given"
  make_certificate "$given/cert.pem" "$given/key.pem" "/O=roomtone/CN=$name" "$client_days" clientAuth ""
  cp "$folder/ca.crt" "$given/ca.pem"
  echo "$word" >"$given/password"
  if [ "$kind" = sensor ]; then say_sensor "$name" "$given"; else say_home_assistant "$name" "$given"; fi
}

remove() {
  grep -q " $1$" "$folder/accounts" || stop 69 "there is no $1 (house.sh list)"
  local file
  for file in sensors dashboards; do sed -i "/^$1:/d" "$folder/$file.passwords"; done
  sed -i "/ $1$/d" "$folder/accounts"
  rm -rf "$folder/given/$1"
  write_acl
  readable_by_mosquitto
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

new_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

make_authority() {
  new_key "$folder/ca.key"
  openssl req -x509 -new -sha256 -key "$folder/ca.key" -days "$ca_days" -subj "/O=roomtone/CN=roomtone house authority" \
    -addext keyUsage=critical,keyCertSign,cRLSign -out "$folder/ca.crt"
}

# make_certificate CERTIFICATE KEY SUBJECT DAYS USE NAMES
make_certificate() {
  new_key "$2"
  { echo "basicConstraints = critical, CA:FALSE"
    echo "keyUsage = critical, digitalSignature"
    echo "extendedKeyUsage = $5"
    echo "subjectKeyIdentifier = hash"
    echo "authorityKeyIdentifier = keyid"
    [ -z "$6" ] || echo "subjectAltName = $6"
  } >"$folder/.extensions"
  openssl req -new -sha256 -key "$2" -subj "$3" |
    openssl x509 -req -sha256 -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
      -days "$4" -extfile "$folder/.extensions" -out "$1" 2>/dev/null
  rm "$folder/.extensions"
}

make_server_certificate() {
  local host name alternatives=
  host=${1:-$(hostname)}
  for name in "$@" "$(hostname)" "$(hostname).local" localhost 127.0.0.1; do
    if [[ $name =~ ^[0-9.]+$|: ]]; then alternatives+=",IP:$name"; else alternatives+=",DNS:$name"; fi
  done
  echo "$host" >"$folder/host"
  make_certificate "$folder/server.crt" "$folder/server.key" "/O=roomtone/CN=$host" "$server_days" serverAuth "${alternatives#,}"
}

# --- mosquitto ------------------------------------------------------------------------------------------------------------

# enter FILE NAME PASSWORD: the password goes through a file, not through a command line that others can read.
enter() {
  local entry
  entry=$(mktemp)
  echo "$2:$3" >"$entry"
  mosquitto_passwd -U "$entry"
  cat "$entry" >>"$folder/$1.passwords"
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
        *)
          echo "topic read roomtone/#"
          echo "topic write roomtone/+/listening/set"
          ;;
      esac
      if [ "$kind" = home-assistant ]; then
        echo "topic read homeassistant/#"
        echo "topic write homeassistant/status"
      fi
    done <"$folder/accounts"
  } >"$folder/.acl.new"
  mv "$folder/.acl.new" "$folder/acl"
}

write_configuration() {
  cat >"$folder/mosquitto.conf" <<CONF
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
max_connections 200

listener $inner_port 127.0.0.1
protocol websockets
http_dir $folder/page
allow_anonymous false
password_file $folder/dashboards.passwords
acl_file $folder/acl
max_connections 100
CONF
  cat >"$folder/stunnel.conf" <<CONF
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

readable_by_mosquitto() {
  getent group mosquitto >/dev/null && [ "$(id -u)" -eq 0 ] || return 0
  chgrp -R mosquitto "$folder"
  chmod -R u=rwX,g=rX,o= "$folder"
  chown -R root:root "$folder/ca.key"
  chmod 0600 "$folder/ca.key"
  [ ! -e "$folder/given" ] || chmod -R go= "$folder/given"
}

# --- this machine -----------------------------------------------------------------------------------------------------------

installed() { [ -z "${ROOMTONE_BROKER:-}" ] && [ -d /run/systemd/system ]; }

reload() { if installed; then systemctl reload mosquitto; fi; }

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
}

stop() {
  echo "house.sh: $2" >&2
  exit "$1"
}

main "$@"
