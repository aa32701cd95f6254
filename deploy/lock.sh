#!/usr/bin/env bash
# Regenerates the pinned versions in deploy/locks from pyproject.toml; needs uv. Keeps the pins that still fit, unless
# called with --upgrade.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "deploy/lock.sh: uv is not here: pip install uv" >&2; exit 69; }

locks=deploy/locks
compile() {
  uv pip compile --quiet --python-version 3.11 --universal --no-header --no-annotate --no-emit-index-url \
    --no-emit-find-links "$@"
}

# A constraints file: every package that any extra can bring, on Python 3.11 to 3.13 and on x86-64 and arm64.
# backports.strenum from 1.3 on says that it is for Python before 3.11, which pip heeds and uv does not.
compile "$@" --all-extras --output-file "$locks/requirements.txt" --constraint <(echo 'backports.strenum<1.3') \
  pyproject.toml

# A requirements file: the sensor on Python 3.11 with tflite-runtime, which needs an old numpy; all else as above.
# setuptools is pinned for the packages that pip builds.
compile "$@" --output-file "$locks/tflite-runtime.txt" \
  --constraint <(grep -v '^numpy==' "$locks/requirements.txt") \
  --override <(echo "ai-edge-litert; python_version < '3'") \
  pyproject.toml <(printf '%s\n' 'tflite-runtime==2.14.0' 'numpy<2' setuptools)
