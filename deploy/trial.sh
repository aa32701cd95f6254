#!/usr/bin/env bash
# A version on trial: switched to, restarted, watched, and kept or taken back, in every room. Sourced by install.sh, not run.
# shellcheck disable=SC2034,SC2154 # of the variables, install.sh sets some and uses some
set -euo pipefail

# What is on trial stands in .trial, a line `TRIED BEFORE VERDICT VERB ROOM...`: the version; the one that ran before and has
# passed its own trial, or `-`; `passed`, `failed` or `-` (none yet); `install` or `rollback`; the rooms, in every one of which
# it must report ready, or it is taken back in all of them; and roomtone-history, where the recorder was up before: it must
# stay so. It is on disk before anything is switched, and goes when what follows from the verdict is done. So whoever comes
# next (this script, or the machine's start) knows how to go on, and where there is no such file, `current` and `previous`
# have passed.

on_trial() { [ -e "$home/.trial" ]; }

read_trial() {
  tried='' before='' verdict=- verb='' on_trial_rooms='' recorder=''
  ! on_trial || read -r tried before verdict verb on_trial_rooms <"$home/.trial" || true
  [ "$before" != - ] || before=
  case "$on_trial_rooms" in
    *" roomtone-history") recorder=roomtone-history on_trial_rooms=${on_trial_rooms% roomtone-history} ;;
  esac
}

write_trial() { echo "$tried ${before:--} $verdict $verb ${rooms[*]}${recorder:+ $recorder}" | put "$home/.trial" 644; }

# try VERSION BEFORE VERB: puts it on trial, and sees the trial through.
try() {
  tried=$1 before=$2 verdict=- verb=$3
  # Where a trial was cut short, that one knew.
  if [ ${#beside[@]} -eq 0 ]; then recorder=
  elif booted && systemctl is-active --quiet roomtone-history; then recorder=roomtone-history
  fi
  write_trial
  at on-trial
  conclude
}

decide() {
  verdict=$1
  write_trial
  at "$1"
}

# Goes on with the trial to its `verdict`, and does what follows; `why` says why it failed.
conclude() {
  switch_to "$tried"
  booted || return 0
  restart
  if stays_up; then
    decide passed
    keep
    return
  fi
  if [ -z "$before" ]; then verdict=failed; return; fi # nothing to go back to: it stays on trial
  [ "$before" = "$tried" ] || say "$tried does not report ready: $why; going back to $before"
  decide failed
  take_back
}

# Does what follows from a verdict where an earlier run was cut short after it.
finish() {
  case $verdict in
    passed) keep ;;
    failed) take_back ;;
  esac
}

keep() {
  [ -z "$before" ] || [ "$before" = "$tried" ] || point previous "$before"
  at previous
  end_trial
}

take_back() {
  way=back-
  if [ "$before" != "$tried" ]; then
    switch_to "$before"
    ! booted || restart
  fi
  end_trial
  way=''
}

end_trial() {
  rm "$home/.trial"
  sync "$home"
  at "${way}end"
  forget_others
}

stop_on_failure() {
  if [ -z "$before" ] || [ "$before" = "$tried" ]; then
    stop 70 "$tried does not report ready: $why (it goes on trying; see: journalctl -u $failed)"
  fi
  local first=$why
  stays_up || stop 70 "$before does not report ready either: $why"
  stop 70 "still on $before: $tried did not report ready: $first"
}

# start_trial_at_boot VERSION: has the machine's start go on with a trial, with that version's installer.
start_trial_at_boot() {
  point .installer "$1"
  booted && [ -e "$home/$1/roomtone-trial.service" ] || return 0
  put "$trial_unit" 644 <"$home/$1/roomtone-trial.service"
  systemctl daemon-reload
  systemctl enable --quiet roomtone-trial
  at boot
}

# --- switching ------------------------------------------------------------------------------------------------------------

way='' # before the names of steps: `back-` on the way back
declare -A restarts=() # of each room, those that systemd had counted when it was restarted for its trial

# point NAME VERSION: the link is either the old one or the new one, at every moment.
point() {
  ln -sfn "$2" "$home/.$1.new"
  mv -T "$home/.$1.new" "$home/$1"
  sync "$home"
}

unit_is_of() { cmp -s "$unit" "$home/$1/roomtone.service" && template_of "$1" | cmp -s - "$template"; }

put_units() {
  put "$unit" 644 <"$home/$1/roomtone.service"
  template_of "$1" | put "$template" 644
  at "${way}unit"
  systemctl daemon-reload
  at "${way}daemon-reload"
}

switch_to() {
  point current "$1"
  at "${way}switch"
  if booted; then
    put_units "$1"
    systemctl enable --quiet "${rooms[@]}"
    at "${way}enable"
  fi
}

restart() {
  proving_since=$(date +%s)
  local all=("${rooms[@]}" "${beside[@]}")
  say "starting ${all[*]}: waiting until ready"
  systemctl restart "${all[@]}" 2>/dev/null || true # which of them did not start is seen in a second
  # Where the version before crashed, this may have been the restart that systemd had scheduled for it: it is counted then.
  local room
  for room in "${all[@]}"; do restarts[$room]=$(restarts_of "$room"); done
  at "${way}restart"
}

restarts_of() { systemctl show -P NRestarts "$1"; }

all_active() {
  local room
  for room in "${rooms[@]}"; do systemctl is-active --quiet "$room" || return 1; done
}

# Whether every room, restarted just now, has reported ready, stays up and keeps real time; else `failed` is one that does
# not, and `why` says why.
stays_up() {
  booted || return 0
  local second fed_us hungry_s now_s watched=("${rooms[@]}" ${recorder:+"$recorder"})
  say "on trial for $probation_s s, in which nothing may fail"
  for ((second = 1; second <= probation_s; second++)); do
    sleep 1
    for failed in "${watched[@]}"; do
      if ! systemctl is-active --quiet "$failed" || [ "$(restarts_of "$failed")" != "${restarts[$failed]:-0}" ]; then
        last_words "systemd calls it $(systemctl show -P Result "$failed")"
        return 1
      fi
    done
    at "${way}second-$second"
    [ $((second % 5)) -ne 0 ] || [ "$second" -eq "$probation_s" ] || say "$second of $probation_s s"
  done
  # One that hangs is active until its watchdog (30 s) bites; it feeds that every half period, so not to have done so tells.
  now_s=$(python3 -c 'import time; print(int(time.monotonic()))')
  for failed in "${rooms[@]}"; do
    fed_us=$(systemctl show -P WatchdogTimestampMonotonic "$failed")
    hungry_s=$((now_s - ${fed_us:-0} / 1000000))
    if [ "$fed_us" != 0 ] && [ "$hungry_s" -ge 18 ]; then
      last_words "it hangs: no sign of life for $hungry_s s"
      return 1
    fi
    if [[ $(systemctl show -P StatusText "$failed") =~ [0-9]+\ s\ behind\ real\ time ]]; then
      last_words "it does not keep up: ${BASH_REMATCH[0]}"
      return 1
    fi
  done
}

# last_words RESULT: `why` becomes what `failed` said last, else RESULT; where there are several rooms, it says which.
last_words() {
  journalctl --sync 2>/dev/null || true
  why=$(journalctl -u "$failed" -o cat --since "@$proving_since" --no-pager 2>/dev/null | grep -v -e '^Started' -e '^Starting' -e '^Stopp' \
    -e 'Scheduled restart' -e 'Consumed' | grep -m1 -e '^roomtone: ' -e 'timed out' -e 'timeout' -e 'Main process exited' || true)
  why=${why:-$1}
  if [ "${rooms[*]}" != roomtone ] || [ "$failed" != roomtone ]; then why="$failed: ${why#"$failed.service: "}"; fi
}

settings_of_all() {
  local room name settings secrets kept account said=
  for room in "${rooms[@]}"; do place "$room"; said+=", $settings"; done
  echo "${said#, }"
}
