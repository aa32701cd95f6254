#!/usr/bin/env bash
# For scripts that a power cut may end at any moment. Sourced by install.sh and broker/house.sh, not run.
#
# ROOMTONE_STOP_AT=STEP ends such a script with SIGKILL right after the step of that name, which is how the tests cut it
# short at each of them. Where it is not set, nothing happens.
set -euo pipefail

# put FILE MODE [GROUP]: standard input becomes the file. After a power cut it is the old file or the new one, as it should
# be read, never an empty one.
put() {
  cat >"$1.new"
  [ -z "${3:-}" ] || chgrp "$3" "$1.new"
  chmod "$2" "$1.new"
  sync "$1.new"
  mv -T "$1.new" "$1"
  sync "$(dirname "$1")"
}

# at STEP: the step of that name is done.
at() {
  [ "${ROOMTONE_STOP_AT:-}" != "$1" ] || kill -KILL $$
}
