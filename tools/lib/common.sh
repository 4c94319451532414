# Shared by tools/reproduce, tools/test and .ci/run: what is installed, how Occam is built and tested.
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export OCCAM_PYTHON="${OCCAM_PYTHON:-/usr/bin/python3}"

die() { # die EXIT_CODE MESSAGE
  echo "${0##*/}: $2" >&2
  exit "$1"
}

# The packages of packages.txt that are not installed.
missing_packages() {
  local package
  sed 's/#.*//' "$root/tools/lib/packages.txt" | while read -r package; do
    # Another Python brings its own numpy, matplotlib and Jinja2.
    [[ -z $package || ($package == python3* && $OCCAM_PYTHON != /usr/bin/python3) ]] && continue
    # shellcheck disable=SC2016  # ${Status} is dpkg-query's
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || echo "$package"
  done
}

# Installs what is missing, or lists it and leaves with 2 where it must not or cannot install.
require_packages() { # require_packages MAY_INSTALL(true|false)
  if ! command -v dpkg-query >/dev/null; then
    echo "Not Debian: packages are not checked. tools/lib/packages.txt names them; CMake says what it lacks."
    return
  fi
  local missing=() as_root=()
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  [[ $1 == true ]] || die 2 "not installed: ${missing[*]}"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die 2 "neither root nor sudo; ask for: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  echo "Installing: ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# Configures and builds the targets, or everything; a second command on the same folder waits for its turn.
build_occam() { # build_occam BUILD_DIR [TARGET...]
  local build="$1"
  shift
  mkdir -p "$build"
  (
    flock 9
    cmake -S "$root" -B "$build" -G Ninja
    cmake --build "$build" ${1+--target "$@"}
  ) 9>"$build/.lock"
}

# Runs CTest, then says how many tests passed, failed and were skipped, and names the skipped ones.
run_tests() { # run_tests BUILD_DIR CTEST_ARGUMENT...
  local build="$1" report="$1/tests.xml" status=0
  shift
  rm -f "$report"
  ctest --test-dir "$build" --output-on-failure --no-tests=error -j2 --output-junit "$report" "$@" ||
    status=$?
  [[ ! -e $report ]] || "$OCCAM_PYTHON" "$root/tools/lib/summarize_tests.py" "$report"
  return "$status"
}
