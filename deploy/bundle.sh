#!/usr/bin/env bash
# Makes an offline bundle of the last commit: everything that deploy/install.sh needs on a machine without internet.
#
#   deploy/bundle.sh [--suite bookworm|trixie] [--arch arm64|amd64] [--key FILE] [--extras NAMES] [--out FOLDER]
#                    [--source FOLDER] [--also image|addon] [--part]
#
# --key signs it with a key of `roomtone model keygen`: where that is trusted, no other bundle is installed. --extras: which
# optional parts of roomtone it brings for machines that have them (postgres,metrics; also parquet, plot). --source takes
# that folder's tree instead of the last commit; --also image adds the Debian packages that an image needs beside a
# sensor's (deploy/image/build.sh), where an installed system has them; --also addon adds those of Home Assistant's add-on,
# too. --part says nothing of what to do with it. Writes FOLDER/roomtone-VERSION-SUITE-ARCH.tar (dist/, bookworm and arm64
# unless told otherwise). It needs Debian's apt, git, python3-venv and a compiler for the architecture (Debian:
# gcc-aarch64-linux-gnu for arm64), but no emulator and not root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suite=bookworm arch=arm64 out=dist source='' also='' part='' key='' extras=postgres,metrics
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=$2 ;;
    --arch) arch=$2 ;;
    --key) key=$2 ;;
    --extras) extras=$2 ;;
    --out) out=$2 ;;
    --source) source=$2 ;;
    --also) also=$2 ;;
    --part) part=yes; shift; continue ;;
    *) echo "usage: deploy/bundle.sh [--suite bookworm|trixie] [--arch arm64|amd64] [--key FILE] [--extras NAMES] [--out FOLDER] [--source FOLDER] [--also image|addon] [--part]" >&2
      exit 2 ;;
  esac
  shift 2
done
stop() { echo "bundle: $1" >&2; exit 69; }

case $suite in
  bookworm) python=3.11 ;;
  trixie) python=3.13 ;;
  *) echo "bundle: suite $suite: expected bookworm or trixie" >&2; exit 2 ;;
esac
case $also in
  "") packages=() ;;
  image) packages=(base-files ca-certificates tzdata pulseaudio-utils) ;;
  addon) packages=(base-files ca-certificates tzdata pulseaudio-utils nginx) ;;
  *) echo "bundle: also $also: expected image or addon" >&2; exit 2 ;;
esac
case $arch in
  arm64) machine=aarch64 ;;
  amd64) machine=x86_64 ;;
  *) echo "bundle: architecture $arch: expected arm64 or amd64" >&2; exit 2 ;;
esac
triplet=$machine-linux-gnu
[ -z "$key" ] || [ -r "$key" ] || { echo "bundle: key $key: there is no such file, or it cannot be read" >&2; exit 66; }
command -v "$triplet-gcc" >/dev/null || stop "no $triplet-gcc here: install gcc-${triplet//_/-} (Debian's name)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
if [ -n "$source" ]; then cp -r "$source/." "$work/source"; else git archive HEAD | tar -x -C "$work/source"; fi
version=$("$work/source/deploy/install.sh" --print-version)
name=roomtone-$version-$suite-$arch
bundle=$work/$name
mkdir -p "$bundle/wheels" "$bundle/debs" "$bundle/deploy"
echo "$version" >"$bundle/VERSION"
echo "$suite" >"$bundle/SUITE"
git log -1 --format=%ct >"$bundle/EPOCH" # the date of everything that is made of it
cp "$work/source"/{config.yaml,README.md,LICENSE} "$bundle/"
cp "$work/source"/deploy/{install.sh,durable.sh,rooms.sh,trial.sh,roomtone.service,roomtone-trial.service} "$bundle/deploy/"

# --- Debian packages, with all they depend on, from an apt of our own -----------------------------------------------------

mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
: >"$work/apt/status"
# Debian's packages come from where this machine has its own.
mirror=$(apt-get indextargets --format "\$(REPO_URI)" | sed -nE 's#/debian/?$##p' | head -n 1)
[ -n "$mirror" ] || { echo "bundle: apt here has no source of Debian's packages: make the bundle on a Debian machine" >&2; exit 69; }
for part in "debian $suite" "debian $suite-updates" "debian-security $suite-security"; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror/$part main"
done >"$work/apt/sources.list"
apt_get() {
  apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User="$(id -un)" \
    -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" \
    -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Debug::NoLocking=1 "$@"
}
echo "bundle: Debian packages of $suite for $arch"
apt_get update
apt_get install --yes --download-only --no-install-recommends python3 libportaudio2 mosquitto adduser "${packages[@]}" >/dev/null
mv "$work"/apt/cache/archives/*.deb "$bundle/debs/"
mkdir "$work/headers"
(cd "$work/headers" && apt_get download "libpython$python-dev" portaudio19-dev >/dev/null)
for deb in "$work"/headers/*.deb "$bundle"/debs/libportaudio2_*.deb; do dpkg-deb -x "$deb" "$work/headers"; done

# --- Python packages, at the versions of the lock ---------------------------------------------------------------------------

echo "bundle: Python packages for Python $python on $machine"
python3 -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" install -c deploy/locks/requirements.txt setuptools wheel packaging
# pip judges the lock's markers by the Python it runs on; this one judges them by the Python of the target.
"$work/venv/bin/python" - "$work" "$python" "$machine" "$extras" <<'PYTHON'
import pathlib, sys, tomllib
from packaging.requirements import Requirement

work, python, machine, extras = pathlib.Path(sys.argv[1]), *sys.argv[2:]
target = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
locked = map(Requirement, (work / "source/deploy/locks/requirements.txt").read_text().splitlines())
fits = [pin for pin in locked if pin.marker is None or pin.marker.evaluate(target)]
(work / "constraints").write_text("".join(f"{pin.name}{pin.specifier}\n" for pin in fits))
project = tomllib.loads((work / "source/pyproject.toml").read_text())["project"]
wanted = project["dependencies"] + sum((project["optional-dependencies"][name] for name in filter(None, extras.split(","))), [])
(work / "wanted").write_text("".join(f"{line}\n" for line in wanted if Requirement(line).name.lower() != "pyaudio"))
PYTHON
platforms=(--platform "manylinux2014_$machine")
for glibc in $(seq 17 36); do platforms+=(--platform "manylinux_2_${glibc}_$machine"); done
"${pip[@]}" download --only-binary :all: --implementation cp --python-version "$python" "${platforms[@]}" \
  -c "$work/constraints" -r "$work/wanted" pip -d "$bundle/wheels"
"${pip[@]}" wheel --no-deps --no-build-isolation -w "$bundle/wheels" "$work/source"

# PyAudio comes as source only: one extension, compiled against the target's headers.
pyaudio=$(sed -n 's/^pyaudio==//p' "$work/constraints")
"${pip[@]}" download --no-deps --no-build-isolation --no-binary :all: -d "$work/sdist" "pyaudio==$pyaudio"
tar -xf "$work"/sdist/*.tar.gz -C "$work/sdist"
wheel=$work/wheel
mkdir -p "$wheel/pyaudio" "$wheel/pyaudio-$pyaudio.dist-info"
cp "$work"/sdist/*/src/pyaudio/*.py "$wheel/pyaudio/"
cp "$work"/sdist/*/PKG-INFO "$wheel/pyaudio-$pyaudio.dist-info/METADATA"
cat >"$wheel/pyaudio-$pyaudio.dist-info/WHEEL" <<WHEEL
Wheel-Version: 1.0
Generator: roomtone
Root-Is-Purelib: false
Tag: cp${python/./}-cp${python/./}-linux_$machine
WHEEL
"$triplet-gcc" -shared -fPIC -O2 -fwrapv -DNDEBUG -I"$work/headers/usr/include" -I"$work/headers/usr/include/python$python" \
  "$work"/sdist/*/src/pyaudio/*.c -L"$work/headers/usr/lib/$triplet" -lportaudio \
  -o "$wheel/pyaudio/_portaudio.cpython-${python/./}-$triplet.so"
"$work/venv/bin/python" -m wheel pack --dest-dir "$bundle/wheels" "$wheel" >/dev/null

# ----------------------------------------------------------------------------------------------------------------------------

(cd "$bundle" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" "$bundle/"
mkdir -p "$out"
tar -C "$work" --sort=name --owner=0 --group=0 -cf "$out/.$name.tar" "$name"
[ -z "$key" ] || deploy/sign.sh "$out/.$name.tar" "$key"
mv "$out/.$name.tar" "$out/$name.tar"
[ -z "$part" ] || exit 0
echo "bundle: $out/$name.tar ($(du -m "$out/$name.tar" | cut -f1) MB): copy it to the machine, unpack it there, then: sudo $name/deploy/install.sh"
echo "bundle: where roomtone is installed, instead: sudo /opt/roomtone/current/install.sh --bundle $name.tar"
