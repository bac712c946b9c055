#!/bin/bash
# Goal: as a service, every kind of process has a unit, a user and a sandbox of its own, and all the rest holds as it does in the
# demo: a booted systemd starts the installed build, documents are filed and asked about, each kind that is killed comes back, a
# hishod or a child that hangs is ended by its watchdog, the root secret comes as a credential, and a passphrase is asked for.
# It makes a Debian in a folder and boots it in namespaces: as root, with HISHO_TEST_SYSTEMD=1. HISHO_BUILD is what is installed;
# HISHO_TEST_BASE, a folder with a Debian that holds the libraries already, saves the download; HISHO_TEST_DEB is a package
# (packaging/make-deb) that is installed in place of the build.
set -eu
cd "${HISHO_SOURCE_ROOT:?}"
build=${HISHO_BUILD:?}
[ "${HISHO_TEST_SYSTEMD-}" = 1 ] || { echo "boots a Debian of its own: set HISHO_TEST_SYSTEMD=1 to run it"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "making and booting a chroot needs root"; exit 77; }
for tool in mmdebstrap unshare nsenter python3 ldd; do
	command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done

root=$(mktemp -d /var/tmp/hisho-systemd.XXXXXX)
manager=
clean_up() {
	if [ -n "$manager" ]; then
		kill -KILL "$manager" 2>/dev/null || true # --kill-child takes the booted system with it
		wait "$manager" 2>/dev/null || true
	fi
	[ -n "${HISHO_KEEP-}" ] || rm -rf --one-file-system "$root"
}
trap clean_up EXIT
die() {
	echo "80-systemd: $1"
	[ -z "$manager" ] || at journalctl --no-pager -n 300 -o short-monotonic || true
	exit 1
}
step() { echo "== [$SECONDS s] $1"; }

step "a Debian with what the programs link"
programs=$(find "$build/cli" "$build/daemon" -type f -perm -100 -name 'hisho*')
# shellcheck disable=SC2086 # a list of paths without spaces
libraries=$(ldd $programs | awk '$2 == "=>" { print $3 }' | sort -u)
# shellcheck disable=SC2086 # as above; a library is known to dpkg by its path with or without /usr
packages=$(for l in $libraries; do dpkg -S "$(realpath "$l")" 2>/dev/null || dpkg -S "${l#/usr}" 2>/dev/null || true; done |
	sed 's/[:,].*//' | sort -u | paste -sd,)
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
if [ -n "${HISHO_TEST_BASE-}" ]; then
	cp -a "$HISHO_TEST_BASE/." "$root"
else
	mmdebstrap --quiet --variant=minbase --include="systemd,dbus,mecab-ipadic-utf8,poppler-data,$packages" "$release" "$root" \
		http://deb.debian.org/debian
fi
if [ -n "${HISHO_TEST_DEB-}" ]; then
	prefix=/usr
	cp "$HISHO_TEST_DEB" "$root/root/hisho.deb"
	chroot "$root" dpkg -i /root/hisho.deb >/dev/null
else
	DESTDIR=$root meson install -C "$build" --no-rebuild >/dev/null
	prefix=$(meson introspect "$build" --buildoptions | python3 -c 'import json,sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
fi
cp -r docs/demo "$root/root/demo"
embedder=${HISHO_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/hisho/models}/e5-small-q4.bin
if [ -f "$embedder" ]; then
	cp "$embedder" "$root/root/embedder.bin"
else
	embedder=
	echo "no e5-small-q4.bin in \$HISHO_MODELS: hisho-infer is not tried"
fi
ln -sf /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
ln -sf /dev/null "$root/etc/systemd/system/systemd-firstboot.service"
# Shorter patience than an appliance has, so that the test need not wait: the watchdogs are the same.
for unit in hishod.service hisho-.service; do
	mkdir -p "$root/etc/systemd/system/$unit.d"
	printf '[Service]\nWatchdogSec=4\n' >"$root/etc/systemd/system/$unit.d/zz-test.conf"
done

step "booting it"
# shellcheck disable=SC2016 # the inner shell expands
unshare -f -p -m -i -u -n -C --kill-child=SIGKILL bash -ec '
	mount --make-rprivate /
	mount --bind "$1" "$1"
	mount -t proc proc "$1/proc"
	mount -t sysfs -o ro sysfs "$1/sys"
	mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
	mount -t tmpfs -o mode=755 tmpfs "$1/run"
	mount -t tmpfs -o mode=755 tmpfs "$1/dev"
	for n in null zero full random urandom tty; do touch "$1/dev/$n"; mount --bind /dev/$n "$1/dev/$n"; done
	mkdir "$1/dev/pts" "$1/dev/shm"
	mount -t devpts devpts "$1/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
	ln -s /proc/self/fd "$1/dev/fd"
	ln -s pts/ptmx "$1/dev/ptmx"
	mount --make-rshared "$1" # or credentials would stay where they are prepared
	hostname hisho-test
	exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /lib/systemd/systemd --log-target=journal
' sh "$root" >"$root/console" 2>&1 </dev/null &
manager=$!
inner=
for _ in $(seq 100); do
	inner=$(pgrep -P "$manager" || true)
	[ -n "$inner" ] && [ -S "/proc/$inner/root/run/systemd/private" ] && break
	kill -0 "$manager" 2>/dev/null || break
	sleep 0.2
done
if ! kill -0 "$manager" 2>/dev/null || ! [ -S "/proc/$inner/root/run/systemd/private" ]; then
	tail -n 5 "$root/console"
	echo "systemd does not boot in namespaces here"
	exit 77
fi
# A command inside the booted system.
at() {
	nsenter -t "$inner" -m -p -i -u -n -C --root="/proc/$inner/root" --wd="/proc/$inner/root/root" \
		env -i PATH="$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root LC_ALL=C.UTF-8 "$@"
}
signal() { at sh -c "kill -$1 $2"; } # the shell's own: there may be no other
# wait_for WHAT COMMAND...: within 60 s.
wait_for() {
	local what=$1
	shift
	for _ in $(seq 300); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.2
	done
	die "$what: not within 60 s"
}
# field PROGRAM KEY: of `hisho status`.
field() {
	at hisho status --json | python3 -c 'import json,sys
for p in json.load(sys.stdin)["processes"]:
    if p["name"] == sys.argv[1]: print(p[sys.argv[2]])' "$1" "$2"
}
status() { at hisho status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
running() { at sh -c 'cat /proc/[0-9]*/comm 2>/dev/null' | grep ^hisho; }
serves() { [ "$(status ready)" = True ]; }

step "a service"
at systemd-sysusers 2>/dev/null
at hisho init --listen 127.0.0.1:8443 ${embedder:+--embedder embedder.bin} >/dev/null
at systemctl start hishod.service || die "hishod.service does not start"
at hisho tenant add tokai >/dev/null
wait_for "the tenant" at hisho tenant info --tenant tokai
at hisho policy apply --tenant tokai demo/tokai/policy.yaml >/dev/null
at hisho sender keygen sender.key >"$root/sender.pub"
at hisho sender add --tenant tokai demo "$(cat "$root/sender.pub")" >/dev/null
at hisho ingest --tenant tokai --sender sender.key demo/tokai/documents >/dev/null || die "documents are not taken"
at hisho token add --tenant tokai tanaka --label test --out token >/dev/null
ask() { at hisho ask --token-file token "海外出張の支度料はいくらですか。" 2>&1; }
ask >"$root/answer" || die "no answer: $(cat "$root/answer")"
grep -q '支度料' "$root/answer" || die "another answer: $(cat "$root/answer")"

step "each kind its own user, and nothing of another's"
ready() { [ "$(field "$1" state)" = ready ]; }
[ -z "$embedder" ] || wait_for "hisho-infer" ready hisho-infer
[ "$(status missing_separations)" = none ] || die "missing: $(status missing_separations)"
kinds="hisho-keyd hisho-web hisho-tenant hisho-extract${embedder:+ hisho-infer}"
[ "$(field hisho-extract-pdf state)" = absent ] || kinds="$kinds hisho-extract-pdf"
for kind in $kinds; do
	user=$(at stat -c %U "/proc/$(field "$kind" pid)")
	# A process that is not dumpable shows its files as root's: its status file tells the truth.
	[ "$user" = root ] && user=$(at id -un "$(at awk '$1 == "Uid:" { print $2 }' "/proc/$(field "$kind" pid)/status")")
	[ "$user" = "$kind" ] || die "$kind runs as $user"
	[ "$(at stat -c '%U %a' "/run/hisho/spawn/$kind")" = "hisho 600" ] || die "others than hishod may start $kind"
done
for reader in hisho hisho-web hisho-tenant hisho-infer hisho-extract; do
	! at setpriv --reuid="$reader" --regid=hisho --clear-groups cat /var/lib/hisho/keys/keyring >/dev/null 2>&1 ||
		die "$reader reads the keyring"
done
for reader in hisho hisho-web hisho-keyd hisho-infer hisho-extract; do
	! at setpriv --reuid="$reader" --regid=hisho --clear-groups ls /var/lib/hisho/tenants >/dev/null 2>&1 ||
		die "$reader sees the tenants' folders"
done

step "each kind that is killed comes back, and the answers with it"
for kind in $kinds; do
	before=$(field "$kind" pid)
	signal KILL "$before"
	back() { [ "$(field "$kind" state)" = ready ] && [ "$(field "$kind" pid)" != "$before" ]; }
	wait_for "$kind after its death" back
	wait_for "an answer after the death of $kind" ask
done

step "a child that hangs is ended by its watchdog"
before=$(field hisho-extract pid)
signal STOP "$before"
kind=hisho-extract
wait_for "hisho-extract after it hung" back

step "a seal outlives its process and the service"
at hisho tenant seal tokai >/dev/null || die "the tenant cannot be sealed"
! running | grep -qx hisho-tenant || die "a sealed tenant's process is there"
at systemctl restart hishod.service
at hisho tenant list | grep -q sealed || die "the seal was lost"
at hisho tenant unseal tokai >/dev/null
wait_for "the unsealed tenant" ask

step "a hishod that hangs is ended by its watchdog, and its children with it"
main=$(at systemctl show -P MainPID hishod.service)
signal STOP "$main"
renewed() { [ "$(at systemctl show -P MainPID hishod.service)" != "$main" ] && serves; }
wait_for "hishod after it hung" renewed
[ "$(at systemctl show -P NRestarts hishod.service)" -ge 1 ] || die "not systemd's doing"
at journalctl --no-pager -u hishod.service | grep -q -i watchdog || die "not the watchdog's doing"
wait_for "an answer after hishod hung" ask
main=$(at systemctl show -P MainPID hishod.service)
signal KILL "$main"
wait_for "hishod after it was killed" renewed
wait_for "an answer after hishod was killed" ask

step "the root secret as a credential"
at mkdir -p /etc/credstore.encrypted
at systemd-creds encrypt --with-key=host --name=hisho-root /var/lib/hisho/keys/root /etc/credstore.encrypted/hisho-root 2>/dev/null
at rm /var/lib/hisho/keys/root /var/lib/hisho/keys/demo
at systemctl restart hishod.service || die "it does not start with the credential"
wait_for "an answer with the credential" ask
at hisho status --json | grep -q '"root": "credential"' || die "the root is not the credential"

step "stopped, nothing is left"
at systemctl stop hishod.service
at systemctl --no-legend list-units 'hisho*.service' | grep . && die "units are left"
! running || die "processes are left"

step "a passphrase is asked for; a wrong one is told"
at mv /var/lib/hisho /var/lib/hisho-before
at rm /etc/credstore.encrypted/hisho-root
at sh -c 'echo correct-horse-battery-staple >pass; echo another-horse-altogether >wrong'
at hisho init --listen 127.0.0.1:8443 --passphrase-file pass >/dev/null
at systemctl start --no-block hishod.service
asked() { at sh -c 'ls /run/systemd/ask-password/ask.*'; }
answer() { # the file whose line is typed
	wait_for "the question" asked
	at sh -c '/lib/systemd/systemd-reply-password 1 "$(sed -n s/^Socket=//p /run/systemd/ask-password/ask.*)" <'"$1"
	for _ in $(seq 50); do asked >/dev/null 2>&1 || break; sleep 0.1; done
}
at sh -c 'head -c -1 pass >p && mv p pass && head -c -1 wrong >w && mv w wrong'
answer wrong
refused() { at journalctl --no-pager | grep -q 'keyring.root'; }
wait_for "the refusal of a wrong passphrase" refused
wait_for "another question" asked
at systemctl stop hishod.service # while it waits
! running || die "processes are left that wait for a passphrase"
! asked >/dev/null 2>&1 || die "the question is left"
at systemctl start --no-block hishod.service
answer pass
wait_for "the service behind its passphrase" serves
at hisho status --json | grep -q '"root": "passphrase"' || die "the root is not the passphrase"
at systemctl stop hishod.service
echo "ok"
