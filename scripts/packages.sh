# packages.sh: sourced by the other scripts: how they install what they need. Debian and Ubuntu.

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config libjansson-dev libutf8proc-dev libxxhash-dev libopenblas-openmp-dev libdnnl-dev libvulkan-dev libvulkan-volk-dev glslc libmicrohttpd-dev"
MODEL_PACKAGES="python3 python3-pip ca-certificates"
TEST_PACKAGES="libcmocka-dev mesa-vulkan-drivers vulkan-validationlayers spirv-tools clang clang-format-14 libsimde-dev libclang-rt-14-dev valgrind chromium chromium-driver fonts-dejavu-core"
FUZZ_PACKAGES="python3 clang libclang-rt-14-dev"
ARM_PACKAGES="qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross libjansson-dev:arm64 libutf8proc-dev:arm64 libcmocka-dev:arm64 libgomp1:arm64"

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else die "root or sudo is needed for: $*"; fi
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# Installs those of the packages that are missing.
install_packages() {
    local missing=""
    for package in "$@"; do installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "this script installs with apt-get (Debian, Ubuntu). Elsewhere, install the like of:$missing"
    say "installing with apt-get:$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}
