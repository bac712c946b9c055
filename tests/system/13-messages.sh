#!/bin/sh
# Goal: every sentence that a person may be shown is in the Japanese catalogue, and its format arguments are the English ones'.
set -eu
cd "$HISHO_SOURCE_ROOT"
for tool in xgettext msgmerge msgattrib msgfmt; do
	command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }
done
git rev-parse --git-dir >/dev/null 2>&1 || { echo "the sources are not a checkout"; exit 77; }
msgfmt --check-format --check-domain -o /dev/null po/ja.po
untranslated=$(packaging/messages 2>/dev/null)
[ -z "$untranslated" ] || { echo "po/ja.po lacks:"; echo "$untranslated"; exit 1; }

# The check itself can fail: a catalogue without a sentence is noticed.
short=$(mktemp)
trap 'rm -f "$short"' EXIT
sed '/^msgid "yes"$/,/^$/d' po/ja.po >"$short"
packaging/messages "$short" 2>/dev/null | grep -q '^msgid "yes"$'
echo "every message is translated"
