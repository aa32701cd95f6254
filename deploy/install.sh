#!/usr/bin/env bash
# Puts roomtone on this machine as a service, or brings it up to date. Run as root, from a checkout (Python packages come
# from the internet) or from an unpacked bundle (deploy/bundle.sh; nothing is fetched). Run again, it changes nothing.
#
#   deploy/install.sh              install or upgrade; goes back by itself where the new version does not report ready
#   deploy/install.sh --instance kitchen  and a sensor for one more room, with its own microphone, settings and state
#   deploy/install.sh --bundle FILE.tar   the same from a bundle that is not unpacked yet: the installed script verifies it
#                                  before anything in it runs
#   deploy/install.sh --rollback   back to the version before; while one is on trial, to the last that passed its own
#   deploy/install.sh --uninstall  leaves nothing but Debian's packages and the store of a history, which it names; --keep-data
#                                  spares configuration and state, --instance kitchen all but that room
#
# /opt/roomtone/VERSION   an environment each; `current` and `previous` point to two of them, for all rooms
# /opt/roomtone/.trial    what is on trial, while it is: trial.sh
# /etc/roomtone           configuration, written once and never again; credentials/ holds secrets
# /var/lib/roomtone       state: events that wait for the broker, installed models
# /usr/local/bin/roomtone the command, with the installed configuration
#
# What further rooms have of each, and how they are called: rooms.sh.
#
# Cut short at any moment, by a power cut or a kill, it is run again, or with --rollback, or the machine is restarted
# (roomtone-trial.service): each of them ends in order. ROOMTONE_ROOT, ROOMTONE_PROBATION_S and ROOMTONE_PATIENCE_S are
# the tests'.
set -euo pipefail
umask 022
trap '' HUP # an ssh that is lost does not cut it short
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")
# shellcheck source=deploy/durable.sh
. "$here/durable.sh"
root=${ROOMTONE_ROOT:-}
home=$root/opt/roomtone config=$root/etc/roomtone state=$root/var/lib/roomtone
units=$root/etc/systemd/system command=$root/usr/local/bin/roomtone policy=$root/usr/sbin/policy-rc.d
unit=$units/roomtone.service trial_unit=$units/roomtone-trial.service
recorder_unit=$units/roomtone-history.service recorded=$root/var/lib/roomtone-history
# shellcheck source=deploy/rooms.sh
. "$here/rooms.sh"
# shellcheck source=deploy/trial.sh
. "$here/trial.sh"
parts=(install.sh durable.sh rooms.sh trial.sh roomtone.service roomtone-trial.service) # what every version brings of this folder
if [ -e "$here/.ready" ]; then defaults=$here/config.yaml; else defaults=$source/config.yaml; fi
probation_s=${ROOMTONE_PROBATION_S:-20} # after READY, it must stay up this long
# Optional parts of roomtone (pyproject.toml), and the package by which each is known to be there: an upgrade keeps them.
extras=(postgres:psycopg metrics:prometheus_client parquet:pyarrow plot:matplotlib)
patience_s=${ROOMTONE_PATIENCE_S:-60}   # so long an installation beside this one is waited for: a trial's length, and more
proving_since=0 failed='' why='' rooms=() beside=()

main() {
  local verb_asked=install room='' keep='' file=''
  while [ $# -gt 0 ]; do
    case $1 in
      --rollback | --resume | --uninstall | --print-version) [ "$verb_asked" = install ] || usage; verb_asked=${1#--} ;;
      --bundle)
        if [ "$verb_asked" != install ] || [ -z "${2:-}" ]; then usage; fi
        verb_asked=bundle file=$2
        shift ;;
      --keep-data) keep=yes ;;
      --instance)
        is_name "${2:-}" || stop 2 "--instance ${2:-}: expected a room's name: a-z, 0-9 and -, at most 23 of them, and not config"
        room=roomtone@$2
        shift ;;
      *) usage ;;
    esac
    shift
  done
  case $verb_asked in install | uninstall) ;; *) [ -z "$room" ] || usage ;; esac
  [ -z "$keep" ] || [ "$verb_asked" = uninstall ] || usage
  [ "$verb_asked" != print-version ] || { version_of_source; return; }
  case $verb_asked in install | bundle) check_machine ;; esac
  as_root
  [ "$verb_asked" != bundle ] || { install_bundle "$file"; return; }
  locked
  case $verb_asked in
    install)
      # The installed script, which brings no version, adds a room to the one that runs.
      if [ -n "$room" ] && is_installed; then
        resume
        add_room "$room"
      else
        install_or_upgrade "${room:-roomtone}"
        [ -z "$room" ] || [[ " ${rooms[*]} " == *" $room "* ]] || add_room "$room"
      fi ;;
    rollback) roll_back ;;
    resume) resume ;; # the machine's start
    uninstall) if [ -n "$room" ]; then uninstall_room "$room"; else uninstall; fi ;;
  esac
}

usage() { stop 2 "usage: deploy/install.sh [--instance ROOM | --bundle FILE.tar | --rollback | --uninstall [--instance ROOM] [--keep-data]]"; }

# --- verbs ------------------------------------------------------------------------------------------------------------

# install_or_upgrade FIRST: of all rooms; FIRST is the one to begin with where there is none.
install_or_upgrade() {
  local version passed room
  check_bundle
  version=$(version_of_source)
  find_rooms "$1"
  finish
  # The first version of all has none before it; where another comes while it runs, it may pass now what it did not then.
  if on_trial && [ -z "$before" ] && [ "$tried" != "$version" ] && booted && all_active; then
    conclude
  fi
  system_packages
  for room in "${rooms[@]}"; do make_room "$room"; done
  environment "$version"
  write_command
  if ! on_trial && [ "$version" = "$(current)" ] && unit_is_of "$version" && { ! booted || all_active; }; then
    forget_others
    say "$version is installed and running already"
    return
  fi
  passed=$(current)
  ! on_trial || passed=$before
  start_trial_at_boot "$version"
  try "$version" "$passed" install
  case $verdict in
    passed) say "$version is running${passed:+ (before: $passed)}; configuration: $(settings_of_all)" ;;
    failed) stop_on_failure ;;
    -) say "$version installed; systemd does not run here, so nothing was started" ;;
  esac
}

# install_bundle FILE: what is verified is a copy that nobody else can change, and nothing else is run.
install_bundle() {
  local bundle
  [ -f "$1" ] || stop 66 "$1: there is no such file"
  unpacked=$(mktemp -d "${TMPDIR:-/var/tmp}/roomtone-XXXXXX")
  trap 'rm -rf "$unpacked"' EXIT
  tar -x --no-same-owner --no-same-permissions -C "$unpacked" -f "$1" 2>/dev/null || stop 65 "$1: no bundle, or half of one: copy it again"
  bundle=$(echo "$unpacked"/*)
  if [ ! -d "$bundle/wheels" ] || [ -L "$bundle" ]; then stop 65 "$1: no bundle: \`make bundle\` makes one"; fi
  verify "$bundle"
  bash "$bundle/deploy/install.sh"
}

roll_back() {
  local now target
  find_rooms roomtone
  if on_trial && [ "$verb" = rollback ] && [ "$verdict" != failed ]; then
    if [ "$verdict" = passed ]; then keep; else conclude; fi
    report_rollback
    return
  fi
  finish
  if on_trial && [ "$before" != "$tried" ]; then
    [ -n "$before" ] || stop 69 "there is no version before: $tried is the first, and has not passed its trial yet"
    decide failed
    take_back
    stays_up || stop 70 "$before does not report ready: $why"
    say "$before is running; $tried, which had not passed its trial, is gone"
    return
  fi
  now=$(current)
  target=$(readlink "$home/previous") || stop 69 "there is no version before"
  [ -e "$home/$target/.ready" ] || stop 69 "the version before, $target, is no more: install it again"
  start_trial_at_boot "$now"
  try "$target" "$now" rollback
  report_rollback
}

report_rollback() {
  [ "$verdict" != failed ] || stop_on_failure
  say "$tried is running (before: $before)"
}

# What roomtone-trial.service runs where the machine was restarted in the middle of a trial.
resume() {
  find_rooms roomtone
  finish
  on_trial || return 0
  conclude
  [ "$verdict" != failed ] || stop_on_failure
  say "$tried has passed its trial"
}

# add_room ROOM, which hears with the version that has passed already.
add_room() {
  local name settings secrets kept account said
  place "$1"
  if is_there "$1" && is_enabled "$1" && { ! booted || systemctl is-active --quiet "$1"; }; then
    say "$name is there and running already; configuration: $settings"
    return
  fi
  make_room "$1"
  said=$("$home/current/bin/roomtone" --instance "$name" check 2>&1) ||
    stop "$?" "$name: $(sed -n 's/^roomtone: //p' <<<"$said" | head -n 1)"
  sed -n "s/^rooms: .*/roomtone: $name: &/p" <<<"$said"
  if booted; then
    start_room "$1"
    say "$name is running; configuration: $settings"
  else
    say "$name is there; systemd does not run here, so nothing was started; configuration: $settings"
  fi
}

start_room() {
  rooms=("$1") beside=()
  systemctl enable --quiet "$1"
  at room-enabled
  restart
  stays_up || stop 70 "$why (it goes on trying; see: journalctl -u $1)"
}

uninstall_room() {
  local name settings secrets kept account id
  place "$1"
  is_there "$1" || is_enabled "$1" || stop 69 "there is no room $name here"
  id=$(sed -nE '0,/^ +id: *([a-z0-9-]+).*/s//\1/p' "$settings" 2>/dev/null || true)
  disable "$1"
  at room-disabled
  [ -n "$keep" ] || wipe_room "$1"
  say "$name is uninstalled${keep:+; $settings, $secrets and $kept stay}; pages show it as offline until: sudo roomtone forget ${id:-$name}"
}

# disable ROOM: it is stopped, does not start again, and its unit's own settings are gone.
disable() {
  ! booted || systemctl disable --now --quiet "$1" 2>/dev/null || true
  rm -rf "$wants/$1.service" "$units/$1.service.d"
  ! booted || systemctl reset-failed "$1" 2>/dev/null || true
}

uninstall() {
  local folder room
  mapfile -t rooms < <(rooms_there)
  for room in roomtone-trial roomtone "${rooms[@]}" roomtone-history; do disable "$room"; done
  at disabled
  rm -rf "$unit" "$trial_unit" "$recorder_unit" "$template" "$template.d" "$command"
  ! grep -qs "$policy_is_ours" "$policy" || rm "$policy"
  at units-gone
  ! booted || systemctl daemon-reload
  if [ -z "$keep" ]; then
    for room in "${rooms[@]}" roomtone; do wipe_room "$room"; done
    rm -rf "$config"
    at data-gone
    ! getent group roomtone >/dev/null || groupdel roomtone
  fi
  # Last, for this script may lie in there: until then, it can be run again.
  rm -f "$home"/{.trial,.installer,current,previous}
  at links-gone
  for folder in "$home"/*/; do [ ! -d "$folder" ] || forget "$(basename "$folder")"; done
  rm -rf "$home"
  say "uninstalled"
  # Years, perhaps, which nobody else has. systemd keeps it in private, with a link to it.
  [ ! -e "$recorded" ] || say "the history stays, in $recorded, until: sudo rm -r $root/var/lib/{private/,}roomtone-history"
}

# --- parts --------------------------------------------------------------------------------------------------------------

# Before anything is touched: what a sensor runs with has no wheels for other machines (README.md says which).
check_machine() {
  local machine
  machine=$(dpkg --print-architecture 2>/dev/null) || stop 69 "there is no dpkg here: this installs on Debian, or on what is made of it"
  case $machine in
    amd64 | arm64) ;;
    armhf | armel) stop 69 "this is a 32-bit system ($machine), and roomtone needs a 64-bit one: install Raspberry Pi OS (64-bit), which a Pi 3, a Zero 2 W and newer ones run" ;;
    *) stop 69 "roomtone is for amd64 and arm64, and this is $machine" ;;
  esac
}

as_root() {
  [ -n "$root" ] || [ "$(id -u)" -eq 0 ] || stop 69 "this needs root: sudo ${BASH_SOURCE[0]}"
}

# What a run that was killed had started (apt-get, pip) holds the lock for as long as it goes on.
locked() {
  mkdir -p "$home"
  exec 9>"$home/.lock"
  if ! flock -n 9; then
    say "another installation is at work: waiting for it, for at most $patience_s s"
    flock -w "$patience_s" 9 || stop 69 "another installation is still at work: try again when it has ended"
  fi
  read_trial
}

bundled() { [ -d "$source/wheels" ]; }
is_installed() { [ -e "$here/.ready" ]; } # this very script is of a version in /opt/roomtone
booted() { [ -d "$root/run/systemd/system" ]; }
current() { readlink "$home/current" 2>/dev/null || true; }

# The version in edge/, and a digest of all that is installed, so that a commit without a new number is an upgrade, too.
version_of_source() {
  if bundled; then
    cat "$source/VERSION"
    return
  fi
  local number digest
  number=$(sed -nE 's/^__version__ = "(.*)"/\1/p' "$source/edge/__init__.py")
  digest=$(cd "$source" && find edge pyproject.toml deploy/locks "${parts[@]/#/deploy/}" -type f \
    ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
  echo "$number+${digest:0:8}"
}

check_bundle() {
  bundled || return 0
  (cd "$source" && sha256sum --quiet -c SHA256SUMS >/dev/null 2>&1) ||
    stop 65 "$source: the bundle is damaged or incomplete: copy it again"
  verify "$source"
  local machine suite here extra
  machine=$(dpkg --print-architecture)
  compgen -G "$source/debs/*_$machine.deb" >/dev/null ||
    stop 69 "this bundle is not for $machine: make one with \`make bundle ARCH=$machine\`"
  suite=$(<"$source/SUITE")
  here=$(sed -nE 's/^VERSION_CODENAME="?([a-z]+)"?$/\1/p' "$root/etc/os-release")
  [ "$suite" = "$here" ] ||
    stop 69 "this bundle is for $suite, and here is ${here:-another system}: \`make bundle SUITE=...\` makes bookworm's or trixie's"
  for extra in "${extras[@]}"; do
    ! has "$home/current" "$extra" || compgen -G "$source/wheels/${extra#*:}-*.whl" >/dev/null ||
      stop 69 "this bundle does not bring ${extra#*:}, which is installed here: make one with \`make bundle EXTRAS=${extra%:*}\`"
  done
}

# verify BUNDLE: by what is installed, before anything in it runs. The first version of all has nobody to verify it, nor has
# one that replaces a version which knew no signatures.
verify() {
  local room name settings secrets kept account configurations=()
  compgen -G "$home/current/lib/python3*/site-packages/edge/updates/bundle.py" >/dev/null || return 0
  "$home/current/bin/python" -I -c '' 2>/dev/null ||
    stop 69 "$(current) cannot verify the bundle, for its Python is gone: install from a checkout, or --uninstall --keep-data first"
  for room in $(rooms_there); do
    place "$room"
    configurations+=("$settings")
  done
  env -i LANG=C.UTF-8 "$home/current/bin/python" -I -m edge.updates.bundle "$1" "${configurations[@]}" || exit $?
}

# has VERSION'S-FOLDER EXTRA
has() { compgen -G "$1/lib/python3*/site-packages/${2#*:}-*.dist-info" >/dev/null; }

# lacking FOLDER: the extras that the installed version has and the one in that folder has not, as pip wants them.
lacking() {
  local extra names=
  for extra in "${extras[@]}"; do
    ! has "$home/current" "$extra" || has "$1" "$extra" || names+=",${extra%:*}"
  done
  [ -z "$names" ] || echo "[${names#,}]"
}

missing_packages() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done
}

policy_is_ours='^# roomtone installs: '

system_packages() {
  local missing wanted=() unfinished=
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
  [ ! -e "$policy" ] || unfinished=$(sed -n "s/$policy_is_ours/ /p" "$policy")
  if [ ${#wanted[@]} -gt 0 ] || [ -n "$unfinished" ]; then
    say "installing ${#wanted[@]} system packages"
    apt_without_services
  fi
  python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    stop 69 "roomtone needs Python 3.11 to 3.13, and here is $(python3 --version)"
}

# Installs the `wanted` packages without starting their services. The policy that forbids it tells a later run what this one,
# cut short, had begun (`unfinished`): to configure, to disable, and to remove the policy.
apt_without_services() {
  local done=0 words=
  [ -e "$policy" ] || printf '#!/bin/sh\n# roomtone installs: %s\nexit 101\n' "${wanted[*]}" | put "$policy" 755
  at policy
  [ -z "$unfinished" ] || dpkg --configure -a >/dev/null 2>&1 || true
  if [ ${#wanted[@]} -gt 0 ]; then
    bundled || apt-get update -qq || true
    words=$(apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y -qq --no-install-recommends "${wanted[@]}" 2>&1) || done=$?
  fi
  at packages
  # A broker that the sensor starts is a child of its own; Debian's service would take its port.
  if [[ "$unfinished ${wanted[*]}" == *mosquitto* ]] && booted; then
    systemctl disable --now --quiet mosquitto 2>/dev/null || true
  fi
  ! grep -qs "$policy_is_ours" "$policy" || rm "$policy"
  [ "$done" -eq 0 ] || stop 69 "apt-get could not install the system packages: $(grep '^E:' <<<"$words" | head -n 1)"
}

environment() {
  local folder=$home/$1 build more
  more=$(lacking "$folder")
  if [ -e "$folder/.ready" ]; then
    [ -n "$more" ] || return 0
  else
    rm -rf "$folder"
    more=$(lacking "$folder")
  fi
  say "installing $1 into $folder${more:+, with $more as before}"
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
  if bundled; then
    # Debian's Python cannot bring pip without another package; pip's own wheel can be run.
    python3 -m venv --without-pip "$folder"
    "$folder/bin/python" "$(compgen -G "$source/wheels/pip-*.whl")/pip" install --quiet --no-index \
      --find-links "$source/wheels" "roomtone$more" pip || stop 70 "pip could not install $1"
  else
    python3 -m venv "$folder"
    build=$(mktemp -d)
    cp -r "$source"/{edge,pyproject.toml,LICENSE,README.md} "$build/"
    PIP_CONSTRAINT=$source/deploy/locks/requirements.txt PIP_BUILD_CONSTRAINT=$source/deploy/locks/requirements.txt \
      "$folder/bin/pip" install --quiet "$build$more" || { rm -rf "$build"; stop 69 "pip could not install $1"; }
    rm -rf "$build"
  fi
  cp "$source"/{README.md,LICENSE,config.yaml} "${parts[@]/#/$here/}" "$folder/"
  at environment
  # On disk before it is called so, or a power cut leaves empty files under a name that promises full ones.
  sync -f "$folder"
  put "$folder/.ready" 644 </dev/null
  at ready
}

write_command() {
  put "$command" 755 <<'COMMAND'
#!/bin/sh
# roomtone with the installed configuration, state and (for root) credentials; --instance ROOM: with that room's.
export STATE_DIRECTORY=/var/lib/roomtone CREDENTIALS_DIRECTORY=/etc/roomtone/credentials
exec /opt/roomtone/current/bin/roomtone --config /etc/roomtone/config.yaml "$@"
COMMAND
}

# --- versions that are no longer needed -----------------------------------------------------------------------------------

forget_others() {
  local folder name
  for folder in "$home"/*/; do
    name=$(basename "$folder")
    case $name in current | previous) continue ;; esac
    [ "$name" = "$(current)" ] || [ "$name" = "$(readlink "$home/previous")" ] || forget "$name"
  done
}

# forget VERSION: cut short, it leaves no folder that passes for a whole environment.
forget() {
  rm -f "$home/$1/.ready"
  sync "$home/$1"
  at "${way}forgetting"
  rm -rf "${home:?}/$1"
}

# Nobody may be there to hear it any more.
say() { (trap '' PIPE; echo "roomtone: $1") 2>/dev/null || true; }

stop() {
  echo "roomtone: $2" >&2
  exit "$1"
}

main "$@"
