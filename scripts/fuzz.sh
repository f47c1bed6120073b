#!/usr/bin/env bash
# Builds the fuzz targets (clang, AddressSanitizer, UndefinedBehaviorSanitizer) and runs each for a time, from seeds made of the tests' data.
#
#   scripts/fuzz.sh                     every target for 60 seconds
#   scripts/fuzz.sh 600 gguf template   these for 600 seconds each
#
# What it finds is kept in build-fuzz/NAME and serves as seeds of the next run; an input that fails is build-fuzz/NAME-crash-...
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

SECONDS_EACH=60
case "${1:-}" in
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
[0-9]*) SECONDS_EACH=$1; shift ;;
esac

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $FUZZ_PACKAGES
DIR=build-fuzz
[ -f $DIR/build.ninja ] || CC=clang meson setup $DIR -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized >/dev/null || die "meson setup failed"
ninja -C $DIR fuzz >$DIR/ninja.log || { tail -n 40 $DIR/ninja.log >&2; die "$DIR does not build"; }
python3 tests/fuzz/seeds.py $DIR/seeds

for name in "$@"; do [ -x "$DIR/tests/fuzz/fuzz_$name" ] || die "there is no fuzz target $name: $(cd tests/fuzz && echo fuzz_*.c)"; done
# fuzz NAME: runs one target.
fuzz() {
    local program="$DIR/tests/fuzz/fuzz_$1"
    mkdir -p "$DIR/$1"
    "$program" -max_total_time="$SECONDS_EACH" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -artifact_prefix="$DIR/$1-" \
        "$DIR/$1" "$DIR/seeds/$1" 2>"$DIR/$1.log" || { tail -n 40 "$DIR/$1.log" >&2; die "$1 failed"; }
    say "$1, $SECONDS_EACH seconds, inputs tried: $(sed -n 's/^stat::number_of_executed_units: *//p' "$DIR/$1.log")"
}

NAMES=$*
[ -n "$NAMES" ] || NAMES=$(cd "$DIR/tests/fuzz" && for program in fuzz_*; do [ ! -f "$program" ] || echo "${program#fuzz_}"; done)
running=0 failed=no
for name in $NAMES; do # as many at a time as there are cores
    if [ $running -ge "$(nproc)" ]; then
        wait -n || failed=yes
    else
        running=$((running + 1))
    fi
    fuzz "$name" &
done
for _ in $(seq $running); do wait -n || failed=yes; done
[ $failed = no ]
