#!/bin/bash
# Goal: a bare Debian and a clean clone are enough: in a fresh chroot, `./quickstart --small` installs, builds, fetches the models,
# answers and exits 0, so that no missing install step can hide behind a developer's machine. Long, and it downloads: it runs only
# with HISHO_TEST_FRESH=1, as root. HISHO_TEST_RELEASE chooses the release (bookworm), HISHO_TEST_ARGS quickstart's arguments.
set -eu
cd "${HISHO_SOURCE_ROOT:?}"
[ "${HISHO_TEST_FRESH-}" = 1 ] || { echo "long, and it downloads: set HISHO_TEST_FRESH=1 to run it"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "making a chroot needs root"; exit 77; }
command -v mmdebstrap >/dev/null || { echo "mmdebstrap is not installed"; exit 77; }

release=${HISHO_TEST_RELEASE:-bookworm}
root=$(mktemp -d /var/tmp/hisho-fresh.XXXXXX)
clean_up() {
	umount -l "$root/proc" "$root/dev" 2>/dev/null || true
	rm -rf --one-file-system "$root"
}
trap clean_up EXIT

began=$SECONDS
mmdebstrap --quiet --variant=minbase --include=ca-certificates "$release" "$root" http://deb.debian.org/debian
echo "chroot: $((SECONDS - began)) s, $(du -sm "$root" | cut -f1) MB"
git clone --quiet --no-hardlinks . "$root/root/hisho"
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/root/host-ca.crt" # a host behind an inspecting proxy trusts more than Debian does
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"

began=$SECONDS
# shellcheck disable=SC2086 # a list of words on purpose
chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \
	PIP_CERT=/root/host-ca.crt CURL_CA_BUNDLE=/root/host-ca.crt ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \
	/root/hisho/quickstart ${HISHO_TEST_ARGS---small} >"$root/out" 2>&1 </dev/null || { tail -n 60 "$root/out"; exit 1; }
spent=$((SECONDS - began))
cat "$root/out"
grep -q '資料には記載がありません' "$root/out" || { echo "the forbidden question was not refused"; exit 1; }
grep -q '#hsc_' "$root/out" || { echo "no sign-in link"; exit 1; }
! grep -q '14億' "$root/out" || { echo "a forbidden figure was shown"; exit 1; }
echo "from bare to answered: $spent s on $(nproc) cores"

began=$SECONDS
# shellcheck disable=SC2086
chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \
	/root/hisho/quickstart ${HISHO_TEST_ARGS---small} >"$root/out" 2>&1 </dev/null || { tail -n 60 "$root/out"; exit 1; }
echo "the second run: $((SECONDS - began)) s"
