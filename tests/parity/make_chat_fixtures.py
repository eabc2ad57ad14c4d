#!/usr/bin/env python3
"""Makes the chat template fixtures: what transformers makes of conversations, family by family.

    python3 tests/parity/make_chat_fixtures.py

Needs transformers, tokenizers and jinja2 from PyPI; downloads nothing. Writes below
tests/parity/chat for each family of chat_templates.py

    NAME/tokenizer.json         one of tests/parity/tokenizers, with the family's special tokens
    NAME/tokenizer_config.json  the template and the special tokens that it names
    NAME/expected.json          a list of {"messages", "text", "ids"} or {"messages", "error"}, some
                                with "variables", what the template was told besides, as JSON text
"""

import json
import pathlib

import jinja2
from transformers import PreTrainedTokenizerFast

import chat_templates

ROOT = pathlib.Path(__file__).parent

LLAMA3 = ["<|start_header_id|>", "<|end_header_id|>"]
PHI3 = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
DEEPSEEK = ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"]
DEEPSEEK_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"

# Name: template, tokenizer, special tokens that it lacks, BOS and EOS.
FAMILIES = {
    "qwen2": (chat_templates.QWEN2, "qwen2", [], None, "<|im_end|>"),
    "qwen25": (chat_templates.QWEN25, "qwen2", [], None, "<|im_end|>"),
    "qwen3": (chat_templates.QWEN3, "qwen2", [], None, "<|im_end|>"),
    "llama2": (chat_templates.LLAMA2, "llama2", [], "<s>", "</s>"),
    "llama3": (chat_templates.LLAMA3, "llama3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "llama31": (chat_templates.LLAMA31, "llama3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "mistral": (chat_templates.MISTRAL, "mistral", [], "<s>", "</s>"),
    "mistral_v3": (chat_templates.MISTRAL_V3, "mistral", ["[INST]", "[/INST]"], "<s>", "</s>"),
    "gemma": (chat_templates.GEMMA, "gemma", [], "<s>", "</s>"),
    "gemma3": (chat_templates.GEMMA3, "gemma", [], "<s>", "</s>"),
    "phi3": (chat_templates.PHI3, "llama2", PHI3, "<s>", "</s>"),
    "deepseek": (chat_templates.DEEPSEEK, "deepseek", DEEPSEEK, DEEPSEEK[0], DEEPSEEK_END),
    "zephyr": (chat_templates.ZEPHYR, "mistral", [], "<s>", "</s>"),
    "mixed": (chat_templates.MIXED, "qwen2", [], None, "<|im_end|>"),
}

CONTENTS = [
    "How many boats came in?", "Twelve boats.", "And on Tuesday?", "Nine,\nor ten!",
    "  Spaces and lines around.  \n\n", "\nThe harbour's ledger \u2581 says \u201c137\u201d.", "", " ",
    "<think>\nThey ask for a number.\n</think>\n\nTwelve.", "no thought</think>out",
    "\u6e2f\u306e\u5c0f\u3055\u306a\u753a \U0001f6a2\u00e9e\u0301 \"quoted\" \\ \t tab",
    "[INST is not closed <<SYS>>", "def f(x):\n    return x  # 1,299.50",
]


TOOLS = [
    {"type": "function", "function": {
        "name": "count_boats", "description": "Counts \"boats\" of a day,\nwith their crews.",
        "parameters": {"type": "object", "required": ["day"], "properties": {
            "day": {"type": "string", "enum": ["Monday", "Tuesday"]},
            "at_least": {"type": "integer", "minimum": 0, "description": "\u6e2f"}}}}},
    {"type": "function", "function": {
        "name": "close", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
VARIABLES = [{"enable_thinking": False}, {"enable_thinking": True}, {"tools": TOOLS},
             {"tools": TOOLS[:1], "enable_thinking": False}, {"tools": []}, {"tools": None}]


def conversations():
    """With and without a system message, one to five turns, and some whose roles do not alternate."""
    at = 0
    result = []
    for system in (False, True):
        for num_turns in (1, 2, 3, 4, 5, 6, 7):
            messages = [{"role": "system", "content": CONTENTS[at % 3]}] if system else []
            for turn in range(num_turns):
                messages.append({"role": "assistant" if turn % 2 else "user",
                                 "content": CONTENTS[at % len(CONTENTS)]})
                at += 1
            result.append(messages)
    for roles in (["assistant"], ["system"], ["user", "user"], ["user", "system", "user"],
                  ["user", "assistant", "assistant"]):
        result.append([{"role": role, "content": CONTENTS[len(role) % 4]} for role in roles])
    return result


def with_tokens(document, contents):
    vocab = document["model"]["vocab"]
    size = max(list(vocab.values()) + [t["id"] for t in document["added_tokens"]]) + 1
    for content in contents:
        document["added_tokens"].append({
            "id": size, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True})
        size += 1
    return document


def expect(tokenizer, messages, variables=None):
    # strftime_now is there for transformers and not for us: the date is given.
    options = {"add_generation_prompt": True, "date_string": "26 Jul 2024", **(variables or {})}
    asked = {"messages": messages}
    if variables is not None:
        asked["variables"] = json.dumps(variables)
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except jinja2.TemplateError as error:
        return {**asked, "error": str(error)}
    ids = tokenizer.apply_chat_template(messages, return_dict=False, **options)
    return {**asked, "text": text, "ids": ids}


def make(name, template, base, tokens, bos, eos):
    folder = ROOT / "chat" / name
    folder.mkdir(parents=True, exist_ok=True)
    document = with_tokens(json.loads((ROOT / "tokenizers" / base / "tokenizer.json").read_text()),
                           tokens)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos,
              "chat_template": template}
    if bos is not None:
        config["bos_token"] = {"content": bos}
    tokenizer_file = folder / "tokenizer.json"
    tokenizer_file.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file), bos_token=bos, eos_token=eos, chat_template=template,
        clean_up_tokenization_spaces=False)
    expected = [expect(tokenizer, messages) for messages in conversations()]
    expected += [expect(tokenizer, conversations()[2], variables) for variables in VARIABLES]
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print(name, len(expected), "conversations,", sum("error" in e for e in expected), "refused")


def main():
    for name, family in FAMILIES.items():
        make(name, *family)


if __name__ == "__main__":
    main()
