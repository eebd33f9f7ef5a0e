"""Conversations as Jinja2 writes them by chat templates of the shapes that model files hold.

    python make_chat_goldens.py goldens/chats.json      (needs the PyPI package jinja2)

The environment is that of Hugging Face's tokenizers, but without strftime_now: a date is the one that a template holds. A
conversation that a template refuses has null for its text.
"""

import itertools
import json
import random
import sys

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
LOOP = "{% for message in messages %}" + TURN + "{% endfor %}"
HEADER = "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
OPEN3 = "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"

# Those that a family writes the same.
KNOWN = {
    "chatml": LOOP + OPEN,
    "chatml, bos": "{{bos_token}}" + LOOP + OPEN,
    "chatml, bos in the first turn": "{% for message in messages %}{% if loop.first %}{{- bos_token }}{% endif %}"
    + TURN + "{% endfor %}" + OPEN,
    "chatml, bos where it is defined": "{% if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}" + LOOP + OPEN,
    "chatml, eos ends a turn": "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\\n' ~ "
    "message.content ~ eos_token ~ '\\n' }}{% endfor %}" + OPEN,
    "chatml, a flag with a default": "{% if not add_generation_prompt is defined %}"
    "{% set add_generation_prompt = false %}{% endif %}" + LOOP + OPEN,
    "chatml, a default system message": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" + TURN + "{% endfor %}" + OPEN,
    "chatml, a default system message by name": """{% if messages[0]['role'] == 'system' -%}
    {%- set rest = messages[1:] -%}
    {%- set told = messages[0]['content'] -%}
{%- else -%}
    {%- set rest = messages -%}
    {%- set told = "You're \\"here\\" to help." -%}
{%- endif -%}
{{- '<|im_start|>system\n' + told + '<|im_end|>\n' -}}
{% for message in rest %}
    {# every turn #}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' -}}
{% endfor %}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
{%- endif -%}
""",
    "chatml, trimmed": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim"
    " + '<|im_end|>\\n' }}{% endfor %}" + OPEN,
    "chatml, in turns": "{% for message in messages %}{% set n = loop.index0 %}{% if messages[0]['role'] == 'system' %}"
    "{% set n = n - 1 %}{% endif %}{% if n >= 0 and (message['role'] == 'user') != (n % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}" + TURN + "{% endfor %}"
    "{% if messages | length == 1 and messages[0].role == 'system' %}{{ raise_exception('No user') }}{% endif %}" + OPEN,
    "chatml, bos where it begins as it should": "{% if messages[0]['role'] == 'user' or messages[0]['role'] == 'system' %}"
    "{{ bos_token }}{% endif %}" + LOOP + OPEN,
    "chatml, an answer that is begun": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] }}{% if not loop.last or messages[-1]['role'] != 'assistant' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}",
    "chatml, tools": """{%- macro describe(tool) %}{{ tool | tojson }}{%- endmacro %}
{%- if tools %}
    {%- set told %}Call one of these:{% endset %}
    {{- '<|im_start|>system\\n' + told }}
    {%- for tool in tools %}
        {{- describe(tool) ~ {"a": 1}["a"] }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(calls=0) %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set ns.calls = ns.calls + 1 %}
        {%- for call in message.tool_calls %}
            {{- '<tool_call>' + call.name ~ call.arguments | tojson }}
        {%- endfor %}
    {%- elif message.role == "tool" %}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = " + HEADER
    + "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}" + OPEN3,
    "llama3, no bos": "{% for message in messages %}{{ " + HEADER + " + message['content'] + eos_token }}{% endfor %}" + OPEN3,
    "llama3, dates": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system's turn is always there. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Knowledge ends: December 2023\\n" }}
{{- "Today: " + date_string + "\\n\\n" }}
{{- told }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("no tools") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
}

# Those that none does, and what the refusal says.
OTHER = {
    "chatml, thinks": (LOOP + "{{ '<|im_start|>assistant\\n<think>\\n' }}", "<think>"),
    "chatml, thoughts are left out": (
        "{% for message in messages %}{% set content = message.content %}{% if message.role == 'assistant' and "
        "'</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
        "{{ '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}{% endfor %}" + OPEN,
        "'.split()' is not supported"),
    "chatml, the user's turns are trimmed": (
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + (message.content.strip() if message.role == "
        "'user' else message.content) + '<|im_end|>\\n' }}{% endfor %}" + OPEN, "where chatml writes"),
    "chatml, names of its own": (
        "{% for message in messages %}{{ '<|im_start|>' + message.role.replace('assistant', 'bot') }}{% endfor %}",
        "'.replace()' is not supported"),
    "chatml, capitals": (
        "{% for message in messages %}{{ '<|im_start|>' + message.role | capitalize + '\\n' + message.content + '<|im_end|>\\n' "
        "}}{% endfor %}" + OPEN, "'|capitalize' is not supported"),
    "chatml, the last turns alone": (
        "{% set said = messages if messages[0].role == 'system' else messages[-8:] %}" + LOOP.replace("messages", "said") + OPEN,
        "where chatml writes"),
    "chatml, the system's and the last turns": (
        "{% set said = messages[:1] + messages[1:][-8:] if messages[0].role == 'system' else messages %}"
        + LOOP.replace("messages", "said") + OPEN, "where chatml writes"),
    "chatml, no end of a turn": ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + "
                                 "'\\n' }}{% endfor %}" + OPEN, "where chatml writes"),
    "chatml, the system's text before the user's": (
        "{% if messages[0].role == 'system' %}{% set told = messages[0].content + '\\n\\n' %}{% set messages = messages[1:] %}"
        "{% else %}{% set told = '' %}{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + "
        "(told if loop.first else '') + message.content + '<|im_end|>\\n' }}{% endfor %}" + OPEN, "where chatml writes"),
    "chatml, the system's turn is refused": (
        "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('No system\\nrole') }}{% endif %}"
        + TURN + "{% endfor %}" + OPEN, "it refuses a chat: No system\\nrole"),
    "chatml, a reminder at the end": (
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}{% if loop.last and "
        "loop.length > 1 %}{{ ' Be kind.' }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}" + OPEN, "Be kind."),
    "chatml, two system turns": (
        "{{ '<|im_start|>system\\na<|im_end|>\\n<|im_start|>system\\nb<|im_end|>\\n' }}" + LOOP + OPEN, "where chatml writes"),
    "llama3, today": (
        "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\n' + strftime_now('%d') }}", "'strftime_now()'"),
    "instructions": (
        "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' "
        "}}{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}", "it writes"),
    "tags": ("{% for message in messages %}{{ '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' }}"
             "{% endfor %}{{ '<|assistant|>' }}", "it writes"),
    "nothing": ("{{ messages }}", "line 1"),
}

CONTENTS = ["Hi", "", " ", "  spaces ", "\n\nlines\n\n", "a\n  b", "你好 🙂", "\u00a0\u3000x\u2003", "x" * 40, "{{ bos_token }}",
            "{% if %}", "'\"\\n", "a<|im_end", "system", "\x1f\x85\x0b"]


def chats():
    pick = random.Random(3)
    shapes = [list(roles) for n in (1, 2, 3) for roles in itertools.product(("system", "user", "assistant"), repeat=n)]
    shapes += [[*(["system"] if system else []), *(["user", "assistant"] * n), "user"] for system in (0, 1) for n in (2, 3)]
    return [[[role, pick.choice(CONTENTS)] for role in shape] for shape in shapes]


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message):
        raise TemplateError(message)

    environment.globals["raise_exception"] = raise_exception
    said, goldens = chats(), []
    for name, text in [*KNOWN.items(), *((name, text) for name, (text, _) in OTHER.items())]:
        family = "llama3" if "llama3" in name else "chatml"
        bos, eos = ("<|begin_of_text|>", "<|eot_id|>") if family == "llama3" else ("<s>", "<|im_end|>")
        template = environment.from_string(text)
        texts = []
        for chat in said:
            messages = [{"role": role, "content": content} for role, content in chat]
            try:
                rendered = template.render(messages=messages, add_generation_prompt=True, tools=None, documents=None,
                                           bos_token=bos, eos_token=eos)
            except (TemplateError, TypeError):
                rendered = None
            texts.append(rendered)
        golden = {"name": name, "template": text, "bos": bos, "eos": eos, "texts": texts}
        golden |= {"family": family} if name in KNOWN else {"refusal": OTHER[name][1]}
        goldens.append(golden)
    with open(sys.argv[1], "w") as file:
        json.dump({"chats": said, "templates": goldens}, file, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
