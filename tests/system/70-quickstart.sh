#!/bin/bash
# Goal: ./quickstart, without models and not on a terminal, makes an appliance, answers, refuses what may not be read, stops
# cleanly and exits 0; a second run uses what the first has made.
set -eu
cd "${HISHO_SOURCE_ROOT:?}"
[ "$(realpath "$HISHO_BUILD")" = "$PWD/build" ] || { echo "quickstart builds in ./build, this run is of $HISHO_BUILD"; exit 77; }
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null && [ -n "$(for p in $(packaging/install-packages --list runtime build); do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || echo "$p"; done)" ]; then
	echo "packages are missing and nobody here may install them"
	exit 77
fi
dir=$(mktemp -d /var/tmp/hisho-quickstart.XXXXXX)
trap 'rm -rf "$dir"' EXIT

fail() { echo "$1"; sed 's/^/  | /' "$dir/out"; exit 1; }
for run in first second; do
	LC_ALL=C.UTF-8 timeout 600 ./quickstart --no-models --dir "$dir/demo" --listen 127.0.0.1:0 >"$dir/out" 2>&1 </dev/null ||
		fail "the $run run failed"
	grep -q '17 filed\|17 unchanged' "$dir/out" || fail "$run run: not every document was filed"
	grep -q '\[1\] 旅費規程' "$dir/out" || fail "$run run: no evidence for the first question"
	grep -q '支度料.*20,000円.*\[[0-9]\]$' "$dir/out" || fail "$run run: the first question has another answer"
	grep -q '5分以上洗う.*\[[0-9]\]$' "$dir/out" || fail "$run run: the second question has another answer"
	! grep -q '30秒以上洗' "$dir/out" || fail "$run run: the second question is answered for another case"
	grep -q '資料には記載がありません' "$dir/out" || fail "$run run: the forbidden question was not refused"
	! grep -q '14億' "$dir/out" || fail "$run run: a forbidden figure was shown"
	grep -q 'https://.*#hsc_' "$dir/out" || fail "$run run: no sign-in link"
	! pgrep -f "hishod --state $dir/demo" >/dev/null || fail "$run run: hishod is still there"
done
