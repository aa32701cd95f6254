#!/usr/bin/env bash
# Installs what one of roomtone's environments needs: system packages where something is missing, then Python packages at
# the versions pinned in deploy/locks. Run again, it brings an environment up to date.
#
#   deploy/setup.sh edge            .venv-edge: what a sensor gets, nothing else
#   deploy/setup.sh dev             .venv: everything, for tests, training and conversion
#   deploy/setup.sh mutants         .venv: and the mutation tester, for `make mutants`
#   deploy/setup.sh tflite-runtime  .venv-tflite-runtime: the sensor on Python 3.11 with tflite-runtime and numpy 1
#   deploy/setup.sh homeassistant   .venv-homeassistant: a real Home Assistant on Python 3.13, for its test
#   deploy/setup.sh homeassistant-newest  .venv-homeassistant-newest: the newest Home Assistant that PyPI has for a Debian's
#                                   Python (SUITE=forky unless told otherwise), in that Debian; as root
#   deploy/setup.sh machine         what tests/deploy/machine.py makes Debian machines with; arm64-machine: and emulates one
#   deploy/setup.sh image-builder   what makes the image; image: and what its test runs it with, on arm64, too; addon:
#                                   and what the test of Home Assistant's add-on asks it with
#   deploy/setup.sh sd-image-builder   what makes the SD card's image; sd-image: and emulates a machine for it
#   deploy/setup.sh make            make itself, nothing else
#   deploy/setup.sh servers         what only some tests need: sshd, a camera by RTSP, PipeWire, PostgreSQL, Prometheus, nginx
#
# PYTHON names the interpreter to use; without it, python3 is taken if it fits, else python3.11, 3.12 or 3.13.
# System packages come through apt, after asking; as root, or where CI is set, without asking.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # Debian has mosquitto in a folder that is not on a user's PATH

missing=()

main() {
  case "${1:-}" in
    make) need make command -v make; install_missing ;;
    machine) machine_programs ;;
    arm64-machine) arm64_machine_programs ;;
    servers) servers_for_tests ;;
    image-builder) image_builder_programs; install_missing ;;
    image) image_builder_programs; image_test_programs ;;
    addon) image_builder_programs; image_test_programs; need nginx-light command -v nginx; install_missing ;;
    sd-image-builder) sd_image_builder_programs; install_missing ;;
    sd-image) sd_image_builder_programs; sd_image_test_programs ;;
    edge) sensor_environment ;;
    dev) development_environment ;;
    mutants) mutation_environment ;;
    tflite-runtime) tflite_runtime_environment ;;
    homeassistant) home_assistant_environment ;;
    homeassistant-newest) newest_home_assistant ;;
    *) stop 2 "usage: deploy/setup.sh edge | dev | mutants | tflite-runtime | homeassistant | homeassistant-newest | machine | arm64-machine | image-builder | image | addon | sd-image-builder | sd-image | make | servers" ;;
  esac
}

sensor_environment() {
  find_python 3.11 3.12 3.13 || python_comes_too
  need_for_sensor
  install_missing
  find_python 3.11 3.12 3.13 || no_python
  environment .venv-edge "what a sensor needs" deploy/locks/requirements.txt -e .
}

development_environment() {
  find_python 3.11 3.12 3.13 || python_comes_too
  need_for_sensor
  need mosquitto-clients command -v mosquitto_sub
  need openssl command -v openssl
  need stunnel4 command -v stunnel4
  need systemd command -v systemd-analyze
  need pulseaudio command -v pulseaudio
  need pulseaudio-utils command -v parec
  need libasound2-plugins compgen -G "/usr/lib*/*/alsa-lib/libasound_module_pcm_pulse.so"
  need_browser
  need strace command -v strace
  need ffmpeg command -v ffmpeg
  need alsa-utils command -v arecord
  need netcat-openbsd command -v nc
  need curl command -v curl
  need jq command -v jq
  need openssh-client command -v ssh
  install_missing
  find_python 3.11 3.12 3.13 || no_python
  environment .venv "everything, TensorFlow too: 2.4 GB" deploy/locks/requirements.txt -e '.[dev]'
}

# Not of `dev`: nobody wants an ssh server for wanting to run tests, which say why they are skipped.
servers_for_tests() {
  need openssh-server command -v sshd
  need python3-gi test -d /usr/lib/python3/dist-packages/gi
  need gir1.2-gst-rtsp-server-1.0 compgen -G "/usr/lib*/*/girepository-1.0/GstRtspServer-1.0.typelib"
  need gstreamer1.0-plugins-base compgen -G "/usr/lib/*/gstreamer-1.0/libgstaudioconvert.so"
  need gstreamer1.0-plugins-good compgen -G "/usr/lib/*/gstreamer-1.0/libgstrtp.so"
  need pipewire-bin command -v pw-record
  need wireplumber command -v wireplumber
  need dbus-daemon command -v dbus-run-session
  need postgresql compgen -G "/usr/lib/postgresql/*/bin/initdb"
  need nginx-light command -v nginx
  need prometheus command -v promtool
  need prometheus-alertmanager command -v amtool
  install_missing
}

mutation_environment() {
  find_python 3.11 3.12 3.13 || no_python
  environment .venv "the mutation tester" deploy/locks/requirements.txt mutmut==3.8.1
}

tflite_runtime_environment() {
  find_python 3.11 || PYTHON="" find_python 3.11 || {
    echo "setup: no Python 3.11 here, so no .venv-tflite-runtime: tflite-runtime has no wheel for another"
    return
  }
  need_for_sensor
  install_missing
  local lock=deploy/locks/tflite-runtime.txt
  environment .venv-tflite-runtime "the sensor with tflite-runtime" $lock --no-deps -r $lock -e .
}

home_assistant_environment() {
  find_python 3.13 || PYTHON="" find_python 3.13 ||
    stop 69 "Home Assistant needs Python 3.13: install it, or name it with PYTHON=/path/to/python3.13"
  need gcc command -v cc
  install_missing
  local lock=deploy/locks/homeassistant.txt
  environment .venv-homeassistant "Home Assistant: 800 MB" $lock --prefer-binary -r $lock
}

# Home Assistant follows the newest Python, which no stable Debian has. Nothing is pinned: this is about what comes next.
newest_home_assistant() {
  [ "$(id -u)" -eq 0 ] || stop 69 "this needs root: Home Assistant is put into a Debian of its own, with a newer Python"
  need mmdebstrap command -v mmdebstrap
  install_missing
  local folder=.venv-homeassistant-newest suite=${SUITE:-forky} debian inside constraints
  debian=$PWD/$folder/debian inside=$PWD/$folder/bin/inside
  if [ "$(cat "$debian/.suite" 2>/dev/null)" != "$suite" ]; then
    echo "setup: unpacking Debian $suite into $folder"
    rm -rf "$folder"
    mkdir -p "$folder/bin"
    # What is no stable Debian is signed for a week at a time, and a mirror may be behind.
    mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
      --include=python3-venv,python3-dev,g++,libffi-dev,libssl-dev,zlib1g-dev,ca-certificates "$suite" "$debian" \
      "$(apt-get indextargets --format "\$(REPO_URI)" | grep -m 1 '/debian/\?$')"
    echo "$suite" >"$debian/.suite"
  fi
  cp /etc/resolv.conf /etc/hosts "$debian/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/"
  # What runs inside has this machine's network, processes, devices and temporary files; the mounts end with it.
  cat >"$inside" <<'INSIDE'
#!/bin/sh
debian=$(dirname "$(dirname "$(readlink -f "$0")")")/debian
exec unshare --mount sh -c 'debian=$1; shift
  for folder in /proc /dev "${TMPDIR:-/tmp}"; do mkdir -p "$debian$folder"; mount --rbind "$folder" "$debian$folder"; done
  exec chroot "$debian" "$@"' inside "$debian" "$@"
INSIDE
  cat >"$folder/bin/hass" <<'HASS'
#!/bin/sh
exec "$(dirname "$0")/inside" /ha/bin/hass "$@"
HASS
  chmod 755 "$inside" "$folder/bin/hass"
  [ -e "$debian/ha/bin/pip" ] || "$inside" python3 -m venv /ha
  echo "setup: installing the newest Home Assistant into $folder (1.5 GB)"
  "$inside" /ha/bin/pip install --quiet --upgrade --prefer-binary homeassistant
  # What its integrations want besides, which it would fetch at its first start.
  "$inside" /ha/bin/python - >"$debian/ha/integrations.txt" <<'PYTHON'
import json
from pathlib import Path

import homeassistant
from homeassistant import bootstrap

folder = Path(homeassistant.__file__).parent / "components"
waiting, seen = {"mqtt", "api", "onboarding", *bootstrap.DEFAULT_INTEGRATIONS, *bootstrap.CORE_INTEGRATIONS}, set()
while waiting:
    seen.add(name := waiting.pop())
    manifest = json.loads((folder / name / "manifest.json").read_text())
    waiting |= {*manifest.get("dependencies", [])} - seen
    print(*manifest.get("requirements", []), sep="\n")
PYTHON
  constraints=$(cd "$debian" && echo ha/lib/python3*/site-packages/homeassistant/package_constraints.txt)
  "$inside" /ha/bin/pip install --quiet --prefer-binary -c "/$constraints" -r /ha/integrations.txt
  echo "setup: Home Assistant $("$folder/bin/hass" --version) on $("$inside" /ha/bin/python --version)"
}

machine_programs() {
  need debootstrap command -v debootstrap
  need systemd-container command -v systemd-nspawn
  need openssh-client command -v ssh-keygen
  install_missing
}

arm64_machine_programs() {
  need debootstrap command -v debootstrap
  need qemu-user-static command -v qemu-aarch64-static
  need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
  need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
  install_missing
}

image_builder_programs() {
  need umoci command -v umoci
  need gcc-x86-64-linux-gnu command -v x86_64-linux-gnu-gcc
  need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
  need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
  find_python 3.11 3.12 3.13 || python_comes_too
  need python3-venv "$python" -c 'import venv, ensurepip'
}

image_test_programs() {
  need podman command -v podman
  need runc command -v runc
  need podman-compose command -v podman-compose
  need netavark test -e /usr/lib/podman/netavark
  need aardvark-dns test -e /usr/lib/podman/aardvark-dns
  need iptables command -v iptables # netavark calls it
  need iproute2 command -v ip
  need qemu-user-static command -v qemu-aarch64-static
  install_missing
}

sd_image_builder_programs() {
  need mmdebstrap command -v mmdebstrap
  need arch-test command -v arch-test
  need qemu-user-static command -v qemu-aarch64-static
  need genimage command -v genimage
  need mtools command -v mcopy
  need dosfstools command -v mkfs.vfat
  need e2fsprogs command -v mke2fs
  need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
  need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
}

sd_image_test_programs() {
  need qemu-system-arm command -v qemu-system-aarch64
  need fdisk command -v sfdisk
  install_missing
}

# --- Python -----------------------------------------------------------------------------------------------------------

# find_python VERSION...: sets `python` to an interpreter of one of these versions, or fails.
find_python() {
  local candidate candidates=(python3 python3.11 python3.12 python3.13)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    if is_python "$candidate" "$@"; then
      python=$("$candidate" -c 'import sys; print(sys.executable)')
      return
    fi
  done
  return 1
}

# is_python COMMAND VERSION...: runs it, for a name on the PATH may be a version manager's stub.
is_python() {
  local version
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) && [[ " ${*:2} " == *" $version "* ]]
}

# Where there is no Python at all, Debian's own is one of the system packages.
python_comes_too() {
  if [ -n "${PYTHON:-}" ] || command -v python3 >/dev/null; then no_python; fi
  missing+=(python3)
  python=python3
}

no_python() {
  local found
  found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3}"
  stop 69 "roomtone needs Python 3.11, 3.12 or 3.13, and here is ${found%%$'\n'*}: install one, or name it with PYTHON=/path/to/python3"
}

# --- system packages --------------------------------------------------------------------------------------------------

# need PACKAGE TEST...: PACKAGE (Debian's name) is missing where the command TEST fails.
need() {
  "${@:2}" >/dev/null 2>&1 || missing+=("$1")
}

# Debian's browser without windows opens a page at a third of the work. Ubuntu has the other only.
need_browser() {
  local package=chromium-headless-shell
  if grep -qsx 'ID="\?ubuntu"\?' /etc/os-release; then package=chromium; fi
  need "$package" has_browser
}

has_browser() {
  command -v chromium-headless-shell || command -v chromium
}

need_for_sensor() {
  local name
  # What a sensor runs with has no wheels for 32 bits (deploy/README.md).
  if "$python" -c 'import sys; sys.exit(sys.maxsize > 2**32)' 2>/dev/null; then
    stop 69 "$python is a 32-bit Python, and roomtone needs a 64-bit system, such as Raspberry Pi OS (64-bit)"
  fi
  name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null) || name=python3
  need "$name-venv" "$python" -c 'import venv, ensurepip'
  need "$name-dev" "$python" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'
  need gcc command -v cc
  need libc6-dev has_header stdio.h
  need portaudio19-dev has_header portaudio.h
  need mosquitto command -v mosquitto
}

has_header() {
  echo "#include <$1>" | cc -E -
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "setup: missing system packages: ${missing[*]}"
  command -v apt-get >/dev/null ||
    stop 69 "there is no apt here: install these (Debian's names) in your system's way, then try again"

  local install=(apt-get install -y --no-install-recommends "${missing[@]}") as_root=() answer
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || stop 69 "as root, run this, then try again: ${install[*]}"
    as_root=(sudo)
    if [ -z "${CI:-}" ]; then
      [ -t 0 ] || stop 69 "run this, then try again: sudo ${install[*]}"
      read -r -p "setup: install them now with \`sudo ${install[*]}\`? [y/N] " answer || answer=
      [[ $answer == [yY]* ]] || stop 69 "nothing installed; later: sudo ${install[*]}"
    fi
  fi
  "${as_root[@]}" apt-get update -qq || echo "setup: apt-get update failed; going on with the lists that are here"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
    >/dev/null || stop 69 "apt-get could not install ${missing[*]}"
}

# --- environments -----------------------------------------------------------------------------------------------------

# environment FOLDER WHAT CONSTRAINTS PIP-ARGUMENT...: makes or updates a virtual environment; .ready says it is whole.
environment() {
  local folder=$1 what=$2 constraints
  if ! is_python "$folder/bin/python" 3.11 3.12 3.13; then
    echo "setup: making $folder with $("$python" --version)"
    "$python" -m venv --clear "$folder"
  fi
  echo "setup: installing into $folder ($what)"
  # Through the environment pip constrains what it builds packages with, too (from pip 25.3 on, under the second name);
  # as an address, because a path with a space would be read as two.
  constraints=$("$python" -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve().as_uri())' "$3")
  export PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints PIP_DISABLE_PIP_VERSION_CHECK=1
  "$folder/bin/python" -m pip install --quiet "${@:4}"
  touch "$folder/.ready"
}

stop() {
  echo "setup: $2" >&2
  exit "$1"
}

main "$@"
