#!/usr/bin/env bash
# Makes an SD card's image for a Raspberry Pi of the last commit: Debian's own arm64 and kernel, and the bundle installed in
# it by its own installer.
#
#   deploy/sdcard/build.sh [--suite bookworm|trixie] [--out FOLDER] [--bundle FILE]
#
# Writes FOLDER/roomtone-VERSION-SUITE-sdcard.img (dist/ and bookworm unless told otherwise). --bundle takes one that is
# there (`make bundle`). Three partitions: FAT, which the Pi starts from and people write to; the system, never written;
# the state. Needs root, Debian's mmdebstrap, genimage and what these use, and the emulator qemu-user-static, in which
# the installer runs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
# shellcheck source=deploy/unpack.sh
. deploy/unpack.sh

suite=bookworm out=dist bundle=''
usage="usage: deploy/sdcard/build.sh [--suite bookworm|trixie] [--out FOLDER] [--bundle FILE]"
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=$2 ;;
    --out) out=$2 ;;
    --bundle) bundle=$2 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
  shift 2
done
stop() { echo "sdcard: $1" >&2; exit 69; }
[ "$(id -u)" -eq 0 ] || stop "this needs root: the card's files have owners of their own"
PATH=$PATH:/usr/sbin:/sbin
for program in mmdebstrap genimage mcopy mkfs.vfat mke2fs arch-test; do
  command -v $program >/dev/null || stop "no $program here: deploy/setup.sh sd-image-builder installs what is missing"
done

work=$(mktemp -d /var/tmp/roomtone-sdcard-XXXXXX)
trap 'rm -rf "$work"' EXIT
unpack_bundle "$work" "$bundle" --suite "$suite" --arch arm64
[ "$arch" = arm64 ] || { echo "sdcard: $bundle: a card wants a bundle for arm64" >&2; exit 65; }
name=${name%-arm64}-sdcard
export SOURCE_DATE_EPOCH=$epoch
mkdir -p "$work"/{genimage,card/{root,fat,state/{roomtone,timesync}}}
root=$work/card/root fat=$work/card/fat

# --- Debian, and roomtone by its installer ------------------------------------------------------------------------------

packages=(systemd-sysv dbus udev kmod netbase iproute2 systemd-timesyncd systemd-resolved avahi-daemon libnss-mdns
  wpasupplicant wireless-regdb firmware-brcm80211 initramfs-tools linux-image-arm64 raspi-firmware e2fsprogs tzdata)
# What finds the system: a Pi's card reader, and the disk of the test's machine. The thousands of others that Debian's
# initrd has take an hour to gather under emulation.
drivers=(ext4 mmc_block bcm2835 sdhci-iproc bcm2835-dma gpio-regulator gpio-raspberrypi-exp clk-raspberrypi
  reset-raspberrypi virtio_blk virtio_pci)
# Debian's packages come from where this machine has its own.
mirror=$(apt-get indextargets --format "\$(REPO_URI)" | sed -nE 's#/debian/?$##p' | head -n 1)
[ -n "$mirror" ] || stop "apt here has no source of Debian's packages: make the card on a Debian machine"
# The default processor's SVE makes some libraries many times slower under emulation.
export QEMU_CPU=cortex-a72
mmdebstrap --quiet --mode=root --architectures=arm64 --variant=minbase --components=main,non-free-firmware \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --include="$(IFS=,; echo "${packages[*]}")" --setup-hook='mkdir -p "$1/boot/firmware"' \
  --setup-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
  --setup-hook='printf "%s\\n" MODULES=list COMPRESS=gzip >"$1/etc/initramfs-tools/conf.d/card"' \
  --setup-hook='printf "%s\\n" '"${drivers[*]}"' >"$1/usr/share/initramfs-tools/modules.d/card"' \
  --essential-hook="'$here/native.sh' lend \"\$1\"" \
  --customize-hook='mkdir "$1/srv/bundle" && cp -r '"$work"'/bundle/. "$1/srv/bundle/"' \
  --customize-hook='chroot "$1" /srv/bundle/deploy/install.sh && rm -r "$1/srv/bundle"' \
  --customize-hook="'$here/native.sh' take \"\$1\"" \
  "$suite" "$root" "$mirror/debian" "deb $mirror/debian $suite-updates main" "deb $mirror/debian-security $suite-security main"

# --- what makes it a card -------------------------------------------------------------------------------------------------

install -D -m 755 "$here/card.sh" "$root/usr/lib/roomtone-card/card.sh"
cp "$here/roomtone-card.service" "$root/opt/roomtone/current/roomtone.service" "$root/etc/systemd/system/"
# Settings, secrets and the name are of the FAT partition.
rm -r "$root/etc/roomtone"
ln -s /run/roomtone-card/etc "$root/etc/roomtone"
ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
: >"$root/etc/machine-id" # systemd makes one for each start, in memory
rm -f "$root/etc/hostname" "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed" "$root"/etc/ssh/ssh_host_*
mkdir -p "$root"/state "$root"/var/lib/{roomtone,systemd/timesync}
cat >"$root/etc/fstab" <<'FSTAB'
LABEL=roomtone-root  /                         ext4   ro,noatime                                              0 0
LABEL=ROOMTONE       /boot/firmware            vfat   ro,noatime,umask=0077,nofail,x-systemd.device-timeout=300 0 0
LABEL=roomtone-state /state                    ext4   noatime,nofail,x-systemd.device-timeout=300              0 2
/state/roomtone      /var/lib/roomtone         none   bind,nofail                                             0 0
/state/timesync      /var/lib/systemd/timesync none   bind,nofail                                             0 0
tmpfs                /var/log                  tmpfs  nosuid,nodev,size=16M                                   0 0
tmpfs                /tmp                      tmpfs  nosuid,nodev,size=64M                                   0 0
tmpfs                /var/tmp                  tmpfs  nosuid,nodev,size=64M                                   0 0
FSTAB
# written FILE: standard input becomes that file of the card.
written() { install -D -m 644 /dev/stdin "$root/$1"; }
written etc/systemd/system/roomtone.service.d/card.conf <<'UNIT'
[Unit]
Requires=roomtone-card.service
After=roomtone-card.service
RequiresMountsFor=/var/lib/roomtone

[Service]
EnvironmentFile=/run/roomtone-card/environment
# Without a screen, nobody sees; with one, this is where they look.
StandardOutput=journal+console
StandardError=journal+console
UNIT
written etc/systemd/system/wpa_supplicant@wlan0.service.d/card.conf <<'UNIT'
[Unit]
ConditionPathExists=/run/roomtone-card/wifi.conf
UNIT
# Started by the adapter: a board that has none is not waited for.
written etc/udev/rules.d/90-card.rules <<'RULE'
SUBSYSTEM=="net", KERNEL=="wlan0", TAG+="systemd", ENV{SYSTEMD_WANTS}+="wpa_supplicant@wlan0.service"
RULE
ln -s /run/roomtone-card/wifi.conf "$root/etc/wpa_supplicant/wpa_supplicant-wlan0.conf"
# Where there is no network, the sensor starts all the same.
written etc/systemd/system/systemd-networkd-wait-online.service.d/card.conf <<'UNIT'
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=20
UNIT
printf '[Match]\nName=eth* en* wlan*\n[Network]\nDHCP=yes\n[DHCPv4]\nUseDomains=yes\n' | written etc/systemd/network/card.network
printf '[Resolve]\nMulticastDNS=no\n' | written etc/systemd/resolved.conf.d/card.conf # avahi answers for .local
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' | written etc/systemd/journald.conf.d/card.conf
systemctl --quiet --root="$root" enable roomtone roomtone-card systemd-networkd systemd-resolved systemd-timesyncd \
  avahi-daemon
# Nothing renews itself, nobody can log in, and what would write to the system has nothing to write to.
systemctl --quiet --root="$root" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  getty@.service serial-getty@.service systemd-logind.service systemd-user-sessions.service mosquitto.service wpa_supplicant.service \
  systemd-random-seed.service systemd-machine-id-commit.service systemd-rfkill.socket systemd-rfkill.service systemd-pstore.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service e2scrub_reap.service systemd-binfmt.service

# --- the FAT partition ----------------------------------------------------------------------------------------------------

cp -rL "$root/boot/firmware/." "$fat/"
rm -rf "$root"/boot/{firmware/*,vmlinuz-*,initrd.img-*} "$root"/usr/lib/{raspi-firmware,linux-image-*} # which all are there now
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
cp "$here"/{roomtone.yaml,wifi.conf} "$work/bundle/config.yaml" "$fat/"
mkdir "$fat"/{credentials,roomtone}
echo "console=tty0 console=ttyS1,115200 root=LABEL=roomtone-root ro rootwait fsck.repair=yes net.ifnames=0 panic=10" \
  >"$fat/cmdline.txt"

# --- the card -------------------------------------------------------------------------------------------------------------

system_mb=$(($(du -sm "$root" | cut -f1) * 115 / 100 + 64))
cat >"$work/genimage.cfg" <<GENIMAGE
image fat.vfat {
  vfat { label = "ROOMTONE" extraargs = "-F 32" }
  mountpoint = "/fat"
  size = 256M
}
image system.ext4 {
  ext4 { label = "roomtone-root" use-mke2fs = true }
  mountpoint = "/root"
  size = ${system_mb}M
}
image state.ext4 {
  ext4 { label = "roomtone-state" use-mke2fs = true }
  mountpoint = "/state"
  size = 512M
}
image card.img {
  hdimage { align = 4M }
  partition fat { image = "fat.vfat" partition-type = 0x0c bootable = true }
  partition system { image = "system.ext4" partition-type = 0x83 }
  partition state { image = "state.ext4" partition-type = 0x83 }
}
GENIMAGE
genimage --loglevel 1 --config "$work/genimage.cfg" --rootpath "$work/card" --tmppath "$work/genimage/tmp" \
  --inputpath "$work" --outputpath "$work/genimage/out"
mkdir -p "$out"
mv "$work/genimage/out/card.img" "$out/.$name.img"
mv "$out/.$name.img" "$out/$name.img"
echo "sdcard: $out/$name.img ($(du -m --apparent-size "$out/$name.img" | cut -f1) MB): write it to a card, then look at its FAT partition"
