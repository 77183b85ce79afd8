#!/bin/sh
# Regenerate the shipped recordings: traces/make.sh [sort|numpy|sqlite]...
# Needs valgrind and sqlite3 (apt-get install valgrind sqlite3) and the project's .venv.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
tmp=build/traces
mkdir -p "$tmp"
# Fixed environment: the accesses of start-up code depend on it.
record() {
    name=$1; shift
    limit=$1; shift
    keep=$1; shift
    env -i PATH=/usr/bin:/bin HOME=/tmp LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 \
        OPENBLAS_NUM_THREADS=1 "$python" -m tb.record -o "traces/$name.svmt" --limit "$limit" --keep "$keep" -- "$@"
}

for what in ${*:-sort numpy sqlite}; do
    case $what in
    sort)
        awk 'BEGIN { x = 12345; for (i = 0; i < 25000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print x } }' \
            > "$tmp/numbers.txt"
        record sort 150000 512 sort -n "$tmp/numbers.txt" ;;
    numpy)
        record numpy 150000 1024 "$python" -S -E traces/job.py ;;
    sqlite)
        record sqlite 150000 512 sqlite3 -batch -init /dev/null :memory: ".read traces/job.sql" ;;
    *)
        echo "make.sh: $what: unknown recording" >&2; exit 2 ;;
    esac
done
