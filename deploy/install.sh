#!/usr/bin/env bash
# Puts roomtone on this machine as a service, or brings it up to date. Run as root, from a checkout (Python packages come
# from the internet) or from an unpacked bundle (deploy/bundle.sh; nothing is fetched). Run again, it changes nothing.
#
#   deploy/install.sh              install or upgrade; goes back by itself where the new version does not report ready
#   deploy/install.sh --rollback   back to the version before
#   deploy/install.sh --uninstall  leaves nothing (but Debian's packages); --keep-data spares configuration and state
#
# /opt/roomtone/VERSION   an environment each; `current` and `previous` point to two of them
# /etc/roomtone           configuration, written once and never again; credentials/ holds secrets
# /var/lib/roomtone       state: events that wait for the broker, installed models
# /usr/local/bin/roomtone the command, with the installed configuration
set -euo pipefail
umask 022
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=/opt/roomtone config=/etc/roomtone state=/var/lib/roomtone
unit=/etc/systemd/system/roomtone.service command=/usr/local/bin/roomtone
probation_s=${ROOMTONE_PROBATION_S:-20} # after READY, it must stay up this long
proving_since=0 proving_result=

main() {
  case "${1:-}" in
    "") as_root; install_or_upgrade ;;
    --rollback) as_root; roll_back ;;
    --uninstall) as_root; uninstall "${2:-}" ;;
    --print-version) version_of_source ;;
    *) stop 2 "usage: deploy/install.sh [--rollback | --uninstall [--keep-data]]" ;;
  esac
}

# --- verbs ------------------------------------------------------------------------------------------------------------

install_or_upgrade() {
  local version before
  mkdir -p "$home"
  exec 9>"$home/.lock"
  flock -n 9 || stop 69 "another installation is at work"
  check_bundle
  version=$(version_of_source)
  before=$(current)
  system_packages
  account
  configuration
  environment "$version"
  write_command
  if [ "$version" = "$before" ] && unit_is_of "$version" && { ! booted || systemctl is-active --quiet roomtone; }; then
    say "$version is installed and running already"
    return
  fi
  switch_to "$version"
  if ! booted; then
    say "$version installed; systemd does not run here, so nothing was started"
    return
  fi
  if prove; then
    [ -z "$before" ] || [ "$before" = "$version" ] || point previous "$before"
    forget_others
    say "$version is running${before:+ (before: $before)}; configuration: $config/config.yaml"
    return
  fi
  local why
  why=$(last_words)
  if [ -z "$before" ] || [ "$before" = "$version" ]; then
    stop 70 "$version does not report ready: $why (it goes on trying; see: journalctl -u roomtone)"
  fi
  say "$version does not report ready: $why; going back to $before"
  return_to "$before"
  rm -rf "${home:?}/$version"
  stop 70 "still on $before: $version did not report ready: $why"
}

roll_back() {
  local before now
  before=$(readlink "$home/previous") || stop 69 "there is no version before"
  now=$(current)
  return_to "$before"
  point previous "$now"
  say "$before is running (before: $now)"
}

uninstall() {
  if booted; then systemctl disable --now --quiet roomtone 2>/dev/null || true; fi
  rm -rf "$unit" "$unit.d" "$command" "$home"
  if booted; then
    systemctl daemon-reload
    systemctl reset-failed roomtone 2>/dev/null || true
  fi
  if [ "$1" != --keep-data ]; then
    rm -rf "$config" "$state"
    ! id -u roomtone >/dev/null 2>&1 || userdel roomtone
  fi
  say "uninstalled"
}

# --- parts --------------------------------------------------------------------------------------------------------------

as_root() {
  [ "$(id -u)" -eq 0 ] || stop 69 "this needs root: sudo ${BASH_SOURCE[0]}"
}

bundled() { [ -d "$source/wheels" ]; }
booted() { [ -d /run/systemd/system ]; }
current() { readlink "$home/current" 2>/dev/null || true; }

# The version in edge/, and a digest of all that is installed, so that a commit without a new number is an upgrade, too.
version_of_source() {
  if bundled; then
    cat "$source/VERSION"
    return
  fi
  local number digest
  number=$(sed -nE 's/^__version__ = "(.*)"/\1/p' "$source/edge/__init__.py")
  digest=$(cd "$source" && find edge pyproject.toml deploy/locks deploy/install.sh deploy/roomtone.service -type f \
    ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
  echo "$number+${digest:0:8}"
}

check_bundle() {
  bundled || return 0
  (cd "$source" && sha256sum --quiet -c SHA256SUMS >/dev/null 2>&1) ||
    stop 65 "$source: the bundle is damaged or incomplete: copy it again"
  local machine suite here
  machine=$(dpkg --print-architecture)
  compgen -G "$source/debs/*_$machine.deb" >/dev/null ||
    stop 69 "this bundle is not for $machine: make one with \`make bundle ARCH=$machine\`"
  suite=$(<"$source/SUITE")
  here=$(sed -nE 's/^VERSION_CODENAME="?([a-z]+)"?$/\1/p' /etc/os-release)
  [ "$suite" = "$here" ] ||
    stop 69 "this bundle is for $suite, and here is ${here:-another system}: \`make bundle SUITE=...\` makes bookworm's or trixie's"
}

missing_packages() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done
}

system_packages() {
  local missing wanted=()
  export DEBIAN_FRONTEND=noninteractive
  if bundled; then
    local deb name
    for deb in "$source"/debs/*.deb; do
      name=$(dpkg-deb -f "$deb" Package)
      [ -z "$(missing_packages "$name")" ] || wanted+=("$deb")
    done
  else
    mapfile -t missing < <(missing_packages python3 python3-venv python3-dev gcc libc6-dev portaudio19-dev libportaudio2 mosquitto)
    wanted=("${missing[@]}")
  fi
  if [ ${#wanted[@]} -gt 0 ]; then
    say "installing ${#wanted[@]} system packages"
    bundled || apt-get update -qq
    apt_without_services install -y -qq --no-install-recommends "${wanted[@]}"
    # A broker that the sensor starts is a child of its own; Debian's service would take its port.
    if [[ ${wanted[*]} == *mosquitto* ]] && booted; then systemctl disable --quiet mosquitto 2>/dev/null; fi
  fi
  python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    stop 69 "roomtone needs Python 3.11 to 3.13, and here is $(python3 --version)"
}

apt_without_services() {
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=yes
  fi
  local done=0 words
  words=$(apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" 2>&1) || done=$?
  [ -z "$ours" ] || rm -f "$policy"
  [ "$done" -eq 0 ] || stop 69 "apt-get could not install the system packages: $(grep '^E:' <<<"$words" | head -n 1)"
}

account() {
  id -u roomtone >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir "$state" --shell /usr/sbin/nologin --groups audio roomtone
}

configuration() {
  mkdir -p "$config"
  install -d -m 0700 "$config/credentials"
  [ ! -e "$config/config.yaml" ] || return 0
  local id
  id=$(hostname 2>/dev/null | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9-]+/-/g; s/^-+|-+$//g' | cut -c1-64)
  # The sensor's part of config.yaml, with this machine's name.
  { echo "# roomtone, the sensor. After a change: sudo roomtone check && sudo systemctl restart roomtone"
    sed -n '/^edge:/,$p' "$source/config.yaml" | sed -E "0,/^( +id: )[a-z0-9-]+/s//\1${id:-room}/"
  } >"$config/.config.yaml.new"
  mv "$config/.config.yaml.new" "$config/config.yaml"
}

environment() {
  local folder=$home/$1 build
  [ ! -e "$folder/.ready" ] || return 0
  say "installing $1 into $folder"
  rm -rf "$folder"
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
  if bundled; then
    # Debian's Python cannot bring pip without another package; pip's own wheel can be run.
    python3 -m venv --without-pip "$folder"
    "$folder/bin/python" "$(compgen -G "$source/wheels/pip-*.whl")/pip" install --quiet --no-index \
      --find-links "$source/wheels" roomtone || stop 70 "pip could not install $1"
  else
    python3 -m venv "$folder"
    build=$(mktemp -d)
    cp -r "$source"/{edge,pyproject.toml,LICENSE,README.md} "$build/"
    PIP_CONSTRAINT=$source/deploy/locks/requirements.txt PIP_BUILD_CONSTRAINT=$source/deploy/locks/requirements.txt \
      "$folder/bin/pip" install --quiet "$build" || { rm -rf "$build"; stop 69 "pip could not install $1"; }
    rm -rf "$build"
  fi
  cp "$source"/{README.md,LICENSE} "$source"/deploy/{roomtone.service,install.sh} "$folder/"
  touch "$folder/.ready"
  sync -f "$folder"
}

write_command() {
  cat >"$command.new" <<'COMMAND'
#!/bin/sh
# roomtone with the installed configuration, state and (for root) credentials.
export STATE_DIRECTORY=/var/lib/roomtone CREDENTIALS_DIRECTORY=/etc/roomtone/credentials
exec /opt/roomtone/current/bin/roomtone --config /etc/roomtone/config.yaml "$@"
COMMAND
  chmod 755 "$command.new"
  mv "$command.new" "$command"
}

# --- switching ------------------------------------------------------------------------------------------------------------

# point NAME VERSION: the link is either the old one or the new one, at every moment.
point() {
  ln -sfn "$2" "$home/.$1.new"
  mv -T "$home/.$1.new" "$home/$1"
}

unit_is_of() { cmp -s "$unit" "$home/$1/roomtone.service"; }

switch_to() {
  point current "$1"
  if booted; then
    install -m 0644 "$home/$1/roomtone.service" "$unit.new"
    mv "$unit.new" "$unit"
    systemctl daemon-reload
    systemctl enable --quiet roomtone
  fi
}

# Whether the service reports ready and stays up.
prove() {
  proving_since=$(date +%s)
  local waited fault=
  systemctl restart roomtone 2>/dev/null || fault=yes
  for ((waited = 0; waited < probation_s && ${#fault} == 0; waited++)); do
    sleep 1
    systemctl is-active --quiet roomtone && [ "$(systemctl show -P NRestarts roomtone)" = 0 ] || fault=yes
  done
  if [ -n "$fault" ]; then
    proving_result="systemd calls it $(systemctl show -P Result roomtone)"
    return 1
  fi
  # One that hangs is active until its watchdog (30 s) bites; it feeds that every half period, so not to have done so tells.
  local fed_us hungry_s
  fed_us=$(systemctl show -P WatchdogTimestampMonotonic roomtone)
  hungry_s=$(python3 -c 'import sys, time; print(int(time.monotonic() - int(sys.argv[1]) / 1e6))' "$fed_us")
  if [ "$fed_us" = 0 ] || [ "$hungry_s" -lt 18 ]; then return 0; fi
  proving_result="it hangs: no sign of life for $hungry_s s"
  return 1
}

return_to() {
  switch_to "$1"
  if booted && ! prove; then stop 70 "$1 does not report ready either: $(last_words)"; fi
}

last_words() {
  local words
  journalctl --sync 2>/dev/null || true
  words=$(journalctl -u roomtone -o cat --since "@$proving_since" --no-pager 2>/dev/null | grep -v -e '^Started' -e '^Starting' -e '^Stopp' \
    -e 'Scheduled restart' -e 'Consumed' | grep -m1 -e '^roomtone: ' -e 'timed out' -e 'timeout' -e 'Main process exited' || true)
  echo "${words:-$proving_result}"
}

forget_others() {
  local folder name
  for folder in "$home"/*/; do
    name=$(basename "$folder")
    case $name in current | previous) continue ;; esac
    [ "$name" = "$(current)" ] || [ "$name" = "$(readlink "$home/previous")" ] || rm -rf "${folder:?}"
  done
}

say() { echo "roomtone: $1"; }

stop() {
  echo "roomtone: $2" >&2
  exit "$1"
}

main "$@"
