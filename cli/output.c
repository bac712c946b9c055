#include "cli/output.h"

#include <inttypes.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void hs_print_fields(const json_t *object)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)object, key, value)
	{
		if (json_is_array(value) || json_is_object(value))
			continue;
		char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
		printf("%-24s ", key);
		const char *s = text ? text : json_string_value(value);
		hs_print_safe(stdout, s ? s : "", s ? strlen(s) : 0);
		putchar('\n');
		free(text);
	}
}

int hs_print_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(1) | JSON_ENCODE_ANY) < 0)
		return HS_EXIT_FAILED;
	putchar('\n');
	return HS_EXIT_OK;
}

void hs_print_safe(FILE *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		/* C1 controls are C2 80..9F in UTF-8: a terminal may obey them. */
		if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] >= 0x80 && (unsigned char)s[i + 1] < 0xa0) {
			fputc('?', out);
			i++;
		} else {
			fputc((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c, out);
		}
	}
}

void hs_print_time(int64_t ms, char out[static 32])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	if (ms <= 0 || !localtime_r(&s, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M", &tm) == 0)
		memcpy(out, "-", 2);
}

static const json_t *look_up(const json_t *row, const char *key)
{
	const char *dot;
	while ((dot = strchr(key, '.')) != NULL) {
		char part[64];
		(void)snprintf(part, sizeof part, "%.*s", (int)(dot - key), key);
		row = json_object_get(row, part);
		key = dot + 1;
	}
	return json_object_get(row, key);
}

static void cell_text(const json_t *v, const struct hs_column *c, char *out, size_t cap)
{
	*out = '\0';
	if (c->time && json_is_integer(v)) {
		char when[32];
		hs_print_time(json_integer_value(v), when);
		(void)snprintf(out, cap, "%s", when);
	} else if (json_is_string(v)) {
		(void)snprintf(out, cap, "%s", json_string_value(v));
	} else if (json_is_integer(v)) {
		(void)snprintf(out, cap, "%" PRId64, (int64_t)json_integer_value(v));
	} else if (json_is_real(v)) {
		(void)snprintf(out, cap, "%.3f", json_real_value(v));
	} else if (json_is_boolean(v)) {
		(void)snprintf(out, cap, "%s", json_is_true(v) ? _("yes") : _("no"));
	} else if (json_is_array(v)) {
		size_t used = 0;
		for (size_t i = 0; i < json_array_size(v) && used < cap; i++) {
			const char *s = json_string_value(json_array_get(v, i));
			int k = snprintf(out + used, cap - used, "%s%s", used ? "," : "", s ? s : "?");
			used += k > 0 ? (size_t)k : 0;
		}
	}
	for (char *p = out; *p; p++) { /* a cell is one line */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
}

int hs_print_table(const struct hs_cli *cli, const json_t *rows, const struct hs_column *columns, size_t n)
{
	if (cli->json)
		return hs_print_json(rows);
	struct libscols_table *table = scols_new_table();
	if (!table)
		return HS_EXIT_FAILED;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = scols_table_new_column(table, _(columns[i].title), 0, columns[i].right ? SCOLS_FL_RIGHT : 0) ? 0 : -1;
	size_t k;
	json_t *row;
	json_array_foreach((json_t *)rows, k, row)
	{
		struct libscols_line *line = rc == 0 ? scols_table_new_line(table, NULL) : NULL;
		if (!line) {
			rc = -1;
			break;
		}
		for (size_t i = 0; i < n && rc == 0; i++) {
			char text[512];
			cell_text(look_up(row, columns[i].key), &columns[i], text, sizeof text);
			rc = scols_line_set_data(line, i, text);
		}
	}
	if (rc == 0)
		rc = scols_print_table(table);
	scols_unref_table(table);
	return rc == 0 ? HS_EXIT_OK : HS_EXIT_FAILED;
}
