/* hisho sender keygen|add|list|revoke: who may file documents. */
#include <errno.h>
#include <fcntl.h>

#include "cli/client.h"
#include "cli/output.h"
#include "crypto/signer.h"

static int sender_keygen(struct hs_cli *cli, int argc, char **argv);
static int sender_add(struct hs_cli *cli, int argc, char **argv);
static int sender_list(struct hs_cli *cli, int argc, char **argv);
static int sender_revoke(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb sender_verbs[] = {
	{"sender keygen", sender_keygen, "KEYFILE", HS_N_("make a sender's key; prints its public half")},
	{"sender add", sender_add, "NAME PUBLIC-KEY [--collection NAME]...", HS_N_("let a key file documents")},
	{"sender list", sender_list, "", HS_N_("list the senders")},
	{"sender revoke", sender_revoke, "NAME", HS_N_("end a sender's right to file")},
};

static int sender_keygen(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &sender_verbs[0], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&sender_verbs[0], _("one file is needed"));
	struct hs_err err = HS_ERR_INIT;
	struct hs_signer *s = hs_crypto_init() == 0 ? hs_signer_create() : NULL;
	rc = s ? hs_signer_save(s, AT_FDCWD, argv[first], &err) : hs_fail_errno(&err, -ENOMEM, "cli.memory", argv[first]);
	if (rc == 0) {
		uint8_t key[HS_SIGNER_PUBLIC_LEN];
		char text[HS_SIGNER_TEXT_LEN + 1];
		hs_signer_public(s, key);
		hs_signer_public_format(key, text);
		printf(cli->json ? "{\"key\": \"%s\"}\n" : "%s\n", text);
	}
	hs_signer_destroy(s);
	return rc < 0 ? hs_cli_fail(cli, &err) : HS_EXIT_OK;
}

static int sender_add(struct hs_cli *cli, int argc, char **argv)
{
	struct hs_option_list collections = {0};
	const struct hs_option options[] = {{"collection", HS_OPTION_LIST, &collections,
					     HS_N_("a collection that it may file under (all, where none is named)")}};
	int first, rc;
	if (!hs_cli_parse(cli, &sender_verbs[1], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 2)
		return hs_cli_usage(&sender_verbs[1], _("a name and a public key are needed"));
	json_t *list = json_array();
	for (size_t i = 0; i < collections.count; i++) {
		if (json_array_append_new(list, json_string(collections.items[i])) < 0) /* a list cut short would grant more */
			return hs_cli_usage(&sender_verbs[1], _("a collection's name is not UTF-8"));
	}
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	json_t *body = json_pack("{s:s, s:s, s:o}", "name", argv[first], "key", argv[first + 1], "collections", list);
	if (hs_call(cli, "POST", "/v1/admin/senders", body, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *id = json_string_value(json_object_get(reply.json, "id"));
	printf("%s\n", id ? id : argv[first]);
	return HS_EXIT_OK;
}

static int sender_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &sender_verbs[2], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "GET", "/v1/admin/senders", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("NAME"), .key = "name"},
		{.title = HS_N_("CREATED"), .key = "created", .time = true},
		{.title = HS_N_("REVOKED"), .key = "revoked", .time = true},
		{.title = HS_N_("ID"), .key = "id"},
		{.title = HS_N_("KEY"), .key = "key"},
	};
	return hs_print_table(cli, json_object_get(reply.json, "data"), columns, HS_ARRAY_LEN(columns));
}

static int sender_revoke(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &sender_verbs[3], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&sender_verbs[3], _("one sender is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO path = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	const char *p = hs_path_of(&path, "/v1/admin/senders/", argv[first], "", &err);
	if (!p || hs_call(cli, "DELETE", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	return HS_EXIT_OK;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "sender", sender_verbs, HS_ARRAY_LEN(sender_verbs), argc, argv);
}

const struct hs_verb hs_verb_sender = {"sender", run, "keygen|add|list|revoke", HS_N_("keys that may file documents")};
