#include "inference/template/chat.h"

/*
 * Written from the forms that the families document, not from their files. Each takes a system message where the family
 * has a place for one, and otherwise says so by raise_exception.
 */
static const char chatml[] =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static const char llama3[] =
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

static const char gemma[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

static const char command_r[] =
    "{{ bos_token }}{% set names = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} %}{% for m in messages %}"
    "{{ '<|START_OF_TURN_TOKEN|><|' + names[m.role] + '_TOKEN|>' + m.content + '<|END_OF_TURN_TOKEN|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}";

static const char role_tags[] = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + eos_token }}{% endfor %}"
				"{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

static const char inst[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system messages') }}"
    "{% elif m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}";

static const char instruction[] =
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% else %}以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '\\n\\n### 指示:\\n' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '\\n\\n### 応答:\\n' + m.content + eos_token }}"
    "{% elif not loop.first %}{{ raise_exception('a system message stands first') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### 応答:\\n' }}{% endif %}";

const struct hs_chat_builtin hs_chat_builtins[] = {
    {"chatml", chatml, {"<|im_start|>", "<|im_end|>", NULL}},
    {"llama3", llama3, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {"gemma", gemma, {"<start_of_turn>", "<end_of_turn>", NULL}},
    {"command-r", command_r, {"<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"}},
    {"role-tags", role_tags, {"<|user|>", "<|assistant|>", "<|system|>"}},
    {"inst", inst, {"[INST]", "[/INST]", NULL}},
    {"instruction", instruction, {NULL, NULL, NULL}},
};
const size_t hs_chat_n_builtins = HS_ARRAY_LEN(hs_chat_builtins);

const struct hs_chat_builtin *hs_chat_builtin_for(const struct hs_tokenizer *t)
{
	size_t row = 0;
	for (; row + 1 < hs_chat_n_builtins; row++) {
		bool all = true;
		for (size_t i = 0; i < HS_ARRAY_LEN(hs_chat_builtins[row].marks) && hs_chat_builtins[row].marks[i]; i++)
			all = all && hs_tok_special(t, hs_chat_builtins[row].marks[i]) != HS_TOK_NONE;
		if (all)
			break;
	}
	return &hs_chat_builtins[row];
}
