#!/usr/bin/env bash
# Sets up all that Canvas needs to be built, tested and run from this folder; `make setup` calls it. Run again, it does only
# what is missing. It writes to .venv/, build/, data/ and python/canvas/ alone; only `system` may install packages.
#
#   tools/setup.sh           all of these, in this order
#   tools/setup.sh system    system packages, through apt where root or sudo without a password allows; else names what is missing
#   tools/setup.sh venv      .venv with the pinned packages of requirements/dev.txt, and Canvas itself (editable)
#   tools/setup.sh native    the C++ core as python/canvas/_core*.so, built in build/dev
#   tools/setup.sh data      Fashion-MNIST into data/, where neither the system nor CANVAS_DATA has it
#
# PYTHON names the interpreter for .venv (default: the one that made it; else the first of python3, python3.14 … python3.10 that is
# 3.10 or newer), CXX the compiler, CANVAS_WERROR=ON makes its warnings errors. Packages come from where pip is configured to look.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
die() { echo "setup: error: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# .venv/.made holds two lines: the folder .venv was made in (it cannot be moved) and the interpreter it was made with.
made_in() { sed -n 1p .venv/.made 2>/dev/null || true; }
made_with() { sed -n 2p .venv/.made 2>/dev/null || true; }

# Prints the interpreter to use; stops with an error when there is none.
find_python() {
  local candidate
  for candidate in ${PYTHON:-$(made_with) python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  if [[ -n ${PYTHON:-} ]]; then
    has "$PYTHON" || die "PYTHON=$PYTHON: no such command"
    die "PYTHON=$PYTHON: required Python 3.10 or newer, got $("$PYTHON" --version 2>&1 || true)"
  fi
  die "no Python 3.10 or newer found; install one, or name it: make setup PYTHON=path/to/python3"
}

has_postgresql() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
has_fashion_mnist() { [[ -n ${CANVAS_DATA:-} || -d /usr/share/datasets/fashion-mnist || -e data/fashion-mnist/.complete ]]; }

# Prints "package|what it is for" for each missing system package; a leading ! marks those that nothing works without.
missing_packages() {
  local python version
  python=$(find_python)
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  has "${CXX:-g++}" || echo "!g++|the C++20 compiler"
  has make || echo "!make|runs the commands of this repository"
  "$python" -c 'import venv, ensurepip' 2>/dev/null || echo "!$version-venv|makes .venv with $python"
  "$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    echo "!$version-dev|the headers of $python"
  has dot || echo "graphviz|pictures of kernels"
  "$python" tools/fuzz.py --probe || printf '%s\n' "clang|a second compiler for the core; fuzzing" "libclang-rt-dev|fuzzing of the core"
  has_postgresql || echo "postgresql|tests of studies in a database"
  has_fashion_mnist || echo "dataset-fashion-mnist|the demo's images"
}

system() {
  local missing package apt=()
  missing=$(missing_packages)
  [[ -n $missing ]] || return 0
  if has apt-get && [[ $(id -u) == 0 ]]; then
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
  elif has apt-get && has sudo && sudo -n true 2>/dev/null; then
    apt=(sudo -n env DEBIAN_FRONTEND=noninteractive apt-get)
  fi
  if [[ ${#apt[@]} -gt 0 ]]; then
    say "installing system packages: $(cut -d'|' -f1 <<<"${missing//!/}" | paste -sd' ')"
    "${apt[@]}" update -qq || say "apt-get update failed; going on with the package lists that are there"
    for package in $(cut -d'|' -f1 <<<"${missing//!/}"); do
      "${apt[@]}" install -y -qq --no-install-recommends "$package" </dev/null >/dev/null || say "apt-get could not install $package"
    done
    missing=$(missing_packages)
  fi
  [[ -n $missing ]] || return 0
  sed 's/^!*/setup: missing: /; s/|/: /' <<<"$missing" >&2
  if grep -q '^!' <<<"$missing"; then
    die "install with: apt-get install $(grep '^!' <<<"$missing" | tr -d '!' | cut -d'|' -f1 | paste -sd' ') (as root), then run this again"
  fi
}

venv() {
  local python key
  if [[ $(made_in) != "$PWD" || $(made_with) != "${PYTHON:-$(made_with)}" ]] || ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv build/dev
    "$python" -m venv .venv || die "$python -m venv failed; on Debian and Ubuntu it needs the package python3-venv"
    printf '%s\n' "$PWD" "$python" >.venv/.made
  fi
  key=$(cksum requirements/dev.txt pyproject.toml)
  [[ $key != "$(cat .venv/.ready 2>/dev/null || true)" ]] || return 0
  say "installing the packages of requirements/dev.txt (some minutes the first time)"
  head_start
  # Python compiles what it imports and keeps that; to compile all that is in the packages takes longer than to install them.
  .venv/bin/python -m pip install --disable-pip-version-check --no-compile -r requirements/dev.txt ||
    die "pip could not install requirements/dev.txt (its message is above)"
  .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e . ||
    die "pip could not install Canvas (its message is above)"
  # Leave the path entry of the editable installation, drop its import hook: that would outrank PYTHONPATH and slow each start.
  sed -i '/^import /d' .venv/lib/python3*/site-packages/_editable_*canvas*.pth
  echo "$key" >.venv/.ready
}

# Builds the core beside pip, which keeps one processor busy at most. `native` ends it and goes on from there, so that its progress,
# and its errors, are those of `native`.
head_start() {
  [[ $wanted == *" venv native "* && ! -e build/dev/build.ninja ]] || return 0
  .venv/bin/python -m pip install --disable-pip-version-check --no-compile --quiet \
    $(grep -E '^(cmake|ninja|nanobind)==' requirements/dev.txt) || die "pip could not install cmake, ninja and nanobind (its message is above)"
  configure
  .venv/bin/ninja -C build/dev >build/head_start.log 2>&1 &
  started=$!
  trap end_head_start EXIT
}

end_head_start() {
  [[ -n ${started:-} ]] || return 0
  kill "$started" 2>/dev/null || true
  wait "$started" 2>/dev/null || true
  started=
}

configure() {
  export PATH="$PWD/.venv/bin:$PATH"
  say "configuring the C++ core"
  cmake -S . -B build/dev -G Ninja --log-level=WARNING -DCANVAS_PYTHON=ON -DCANVAS_INPLACE=ON \
    -DCANVAS_WERROR="${CANVAS_WERROR:-OFF}" -DPython_EXECUTABLE="$PWD/.venv/bin/python" >build/dev.log 2>&1 || { cat build/dev.log >&2; die "cmake failed"; }
}

native() {
  export PATH="$PWD/.venv/bin:$PATH"
  end_head_start
  [[ -e build/dev/build.ninja ]] || configure
  # Ninja's progress, without the lines that tell of nothing built.
  cmake --build build/dev | sed -u 's/^.*Re-checking globbed directories\.*//; /no work to do/d; /^$/d'
}

data() {
  has_fashion_mnist && return 0
  has apt-get && has dpkg-deb || { no_data; return 0; }
  say "fetching Fashion-MNIST into data/fashion-mnist"
  local folder=data/.download
  rm -rf "$folder" && mkdir -p "$folder/files"
  if (cd "$folder" && apt-get download -qq dataset-fashion-mnist) && dpkg-deb -x "$folder"/*.deb "$folder/files"; then
    rm -rf data/fashion-mnist && mv "$folder/files/usr/share/datasets/fashion-mnist" data/ && touch data/fashion-mnist/.complete
  else
    no_data
  fi
  rm -rf "$folder"
}

no_data() {
  say "Fashion-MNIST is not here: the demo needs it. Install the package dataset-fashion-mnist, or set CANVAS_DATA to a" \
    "folder with its four IDX files" >&2
}

mkdir -p build
[[ $# -gt 0 ]] || set -- system venv native data
wanted=" $* "
for step in "$@"; do
  case $step in
    system | venv | native | data) "$step" ;;
    *) die "unknown step '$step'; use system, venv, native or data" ;;
  esac
done
say ready
