# Shared by scripts/run and scripts/test: what must be installed, and how the project is built.
# Sourced from the project's root by bash, with set -euo pipefail.

# Debian packages that a build needs, and those that only the tests need.
build_packages=(g++ cmake ninja-build pkg-config nlohmann-json3-dev libcli11-dev libfmt-dev
  libspdlog-dev libedit-dev libvulkan-dev libvulkan-volk-dev glslc spirv-tools nettle-dev)
test_packages=(libgtest-dev libgmock-dev libsentencepiece-dev libprotobuf-dev clang-format git
  mesa-vulkan-drivers vulkan-validationlayers)
deep_packages=(clang clang-tidy libclang-rt-14-dev llvm libbenchmark-dev)

say() { printf '%s\n' "$*" >&2; }

# install_missing PACKAGE...: installs those that are not there, after saying which.
install_missing() {
  if ! command -v dpkg-query >/dev/null; then
    say "This is not a Debian system: install the equivalents of: $*"
    return 0
  fi
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "Missing Debian packages. As root, run: apt-get install ${missing[*]}"
      exit 1
    fi
    as_root=(sudo)
  fi
  say "Installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -q >/dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# build_release TESTS TARGET...: configures build/release at first use, or when tests are asked for
# and it has none, and builds the targets.
build_release() {
  local tests=$1 folder=build/release
  shift
  if [ ! -e $folder/build.ninja ] ||
     { [ "$tests" = ON ] && ! grep -q '^TANDEM_TESTS:BOOL=ON' $folder/CMakeCache.txt; }; then
    say "Configuring $folder"
    cmake --preset release -DTANDEM_TESTS="$tests" >/dev/null
  fi
  if ninja -C $folder -n "$@" | grep -q 'no work to do'; then return 0; fi
  say "Building (the first time takes a few minutes)"
  ninja -C $folder "$@" >&2
}
