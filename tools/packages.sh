# What a fresh Debian 12 needs; sourced by ./run and ./test.

# To build, with every image format.
BUILD_PACKAGES="build-essential cmake ninja-build pkg-config python3 libjansson-dev libutf8proc-dev libjpeg62-turbo-dev
  libspng-dev libwebp-dev libavif-dev libheif-dev libraw-dev libsqlite3-dev libssl-dev libcurl4-openssl-dev
  libxml2-dev libfaiss-dev libopenblas-dev libcmocka-dev libsimde-dev"
# To fetch materials.
MATERIAL_PACKAGES="ca-certificates python3 python3-pip zstd"

# To run a real Elasticsearch in the tests, alone and behind a proxy; they are skipped without.
ELASTIC_PACKAGES="default-jdk-headless maven haproxy openssl"

# Install those of the given packages that are missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Missing packages: ${missing[*]}. Install them, or run this as root." >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "installing ${missing[*]} ..." >&2
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
