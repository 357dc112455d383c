#!/usr/bin/env bash
# Counts the instructions and allocations of each piece of a request (benches/counts.rs), and fails
# where a piece takes more than benches/counts.txt says. README.md beside this says what counts.
#
#   benches/counts.sh            compare
#   benches/counts.sh --accept   write what is counted now into benches/counts.txt
#   benches/counts.sh --show     print what is counted now
set -euo pipefail
cd "$(dirname "$0")/.."

accepted=benches/counts.txt
mode=${1:-}
case "$mode" in "" | --accept | --show) ;; *) echo "benches/counts.sh: --accept, --show or nothing" >&2 && exit 2 ;; esac

. .ci/install.sh
install_cmake
have valgrind || from_apt valgrind || { echo "benches/counts.sh: install valgrind" >&2; exit 1; }

# The very program that `cargo test --benches` builds.
program=$(cargo test --locked --quiet --bench counts --no-run --message-format=json-render-diagnostics |
    sed -n 's|.*"executable":"\([^"]*/deps/counts-[^"]*\)".*|\1|p')
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# What counts depend on beside the sources. memchr and httparse choose their code by the processor,
# which is here the one that Valgrind shows.
{
    echo "# piece, instructions, allocations: written by benches/counts.sh --accept, and good for"
    echo "# $(rustc --version)"
    echo "# $(valgrind --version)"
    echo "# $(valgrind --quiet --tool=none "$program" processor)"
} >"$out/now"
[ -n "$mode" ] || [ -e "$accepted" ] || { echo "benches/counts.sh: error: no $accepted: benches/counts.sh --accept" >&2; exit 1; }
if [ -z "$mode" ] && ! diff <(grep '^#' "$accepted") "$out/now" >"$out/differs"; then
    echo "benches/counts.sh: NOTHING IS COMPARED, since $accepted (<) is not of what runs here (>):"
    grep '^[<>]' "$out/differs"
    echo "Where that is here to stay: benches/counts.sh --accept, and commit $accepted"
    exit
fi

# Every second piece from the FIRST one. Without an environment: its size would move the stack.
count() { # FIRST
    env -i "$(command -v valgrind)" --tool=callgrind --callgrind-out-file="$out/callgrind.$1" \
        --combine-dumps=yes --compress-strings=no --compress-pos=no --dump-instr=yes \
        --collect-atstart=no --toggle-collect=counts::counted --dump-after=counts::counted \
        "$program" "$1" 2 >"$out/stdout.$1" 2>"$out/stderr.$1" || { cat "$out/stderr.$1" >&2; return 1; }
    # Each part of the file is one piece: what each instruction took, by function; the line after a
    # call is what the called function took. Rust's functions are known by their file, and by their
    # path where the compiler names no file. How often they called the allocator is how often its first
    # instruction ran, the one at the lowest address: Callgrind's numbers of calls go beyond a part.
    # aws-lc calls the C library's, now and then once more for another key.
    awk '
        function end_of_function() {
            if (first != "") allocations[part] += first_ran
            first = ""
        }
        $1 == "piece" { name[++pieces] = $2; runs[pieces] = $3; next }
        /^part: / { part++ }
        /^fl=/ { file = substr($0, 4) }
        /^fn=|^totals: / {
            end_of_function()
            rust = file ~ /\.rs$/ || /::/
            allocates = /^fn=mi_(malloc|zalloc|realloc)_aligned$/
        }
        /^calls=/ { getline; next }
        /^0x/ {
            if (rust) instructions[part] += $3
            if (allocates && (first == "" || $1 < first)) { first = $1; first_ran = $3 }
        }
        END {
            # One more than pieces: what came after the last.
            if (part != pieces + 1) { print "benches/counts.sh: Callgrind did not stop at each piece" >"/dev/stderr"; exit 1 }
            for (i = 1; i <= pieces; i++)
                printf "%s %.0f %.1f\n", name[i], instructions[i] / runs[i], allocations[i] / runs[i]
        }' "$out/stdout.$1" "$out/callgrind.$1" >"$out/counts.$1"
}
# Two at once, for two cores.
count 1 &
count 0 || { wait; exit 1; }
wait $!
paste -d '\n' "$out/counts.0" "$out/counts.1" | grep . >>"$out/now"

case "$mode" in
--accept) cp "$out/now" "$accepted" && exit ;;
--show) awk '!/^#/ { printf "%-22s %8d %6.1f\n", $1, $2, $3 }' "$out/now" && exit ;;
esac
awk '
    function tell(text) { told = told "benches/counts.sh: " text "\n" }
    /^#/ { next }
    FILENAME ~ /counts.txt$/ { instructions[$1] = $2; allocations[$1] = $3; next }
    !titled++ {
        printf "%-22s %20s %20s\n", "", "accepted", "now"
        printf "%-22s %13s %6s %13s %6s %9s\n", "piece", "instructions", "alloc.", "instructions", "alloc.", "change"
    }
    !($1 in instructions) { tell("error: " $1 " is not accepted yet"); failed = 1; next }
    {
        seen[$1] = 1
        old = instructions[$1]
        percent = old ? 100 * ($2 - old) / old : 0
        printf "%-22s %13d %6.1f %13d %6.1f %+8.1f%%\n", $1, old, allocations[$1], $2, $3, percent
        # 3 % of a small piece are few instructions, which the seeds of hash tables move.
        more = $2 > old + 200 && percent > 3 || $3 >= allocations[$1] + 0.5
        less = $2 < old - 200 && percent < -3 || $3 <= allocations[$1] - 0.5
        if (more || less)
            tell(sprintf("%s: %s took %d instructions and %.1f allocations, now %d (%+.1f %%) and %.1f",
                more ? "error" : "less", $1, old, allocations[$1], $2, percent, $3))
        failed = failed || more
    }
    END {
        for (piece in instructions) if (!(piece in seen)) { tell("error: " piece " is not counted any more"); failed = 1 }
        if (told) printf "%sTo accept what is meant, and to keep what was gained: benches/counts.sh --accept, and commit benches/counts.txt\n", told
        exit failed
    }' "$accepted" "$out/now"
