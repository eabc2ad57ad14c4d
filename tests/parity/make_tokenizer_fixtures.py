#!/usr/bin/env python3
"""Makes the tokenizer fixtures: small BPE tokenizers and what `tokenizers` makes of texts.

    python3 tests/parity/make_tokenizer_fixtures.py

Needs tokenizers from PyPI; downloads nothing. Writes below tests/parity/tokenizers

    texts.json              the texts, of all kinds of Unicode
    random.json             what random texts are made of, see random_text
    NAME/tokenizer.json     trained on the text below, in the style of a model family
    NAME/random_ids.u32     for each of 10,000 random texts a hash of its ids, see random_hash
    NAME/expected.json      "ids": of every text, "plain_ids": with special tokens switched off,
                            "decoded": text of those ids without special tokens,
                            "id_lists" and "id_texts": arbitrary ids, often not UTF-8, decoded
"""

import json
import pathlib
import random
import struct
import unicodedata

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

ROOT = pathlib.Path(__file__).parent / "tokenizers"

NUM_RANDOM_TEXTS = 10_000

LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                  r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")

CORPUS = """
A small harbour town keeps its accounts by hand. Every morning the clerk opens the ledger, writes
the date, and counts the boats that came in during the night: 12 boats on Monday, 9 on Tuesday, 137
in the whole of 2024. "It's nothing," she says, "we've always done it; they'll learn." The fishermen
don't agree, they'd rather not wait. I'm told that you're the one who writes the numbers down.
The cat isn't in the kitchen, the dog wasn't in the garden, and nobody's seen the bird today.
def count(boats):\n    total = 0\n    for boat in boats:\n        total += boat.size\n    return total
int main() {\n\tprintf("%d\\n", 42);\n\treturn 0;\n}\n
The price is 1,299.50 euros, or 3.14159 times the width (see section 7.2, page 18).
Über den Dächern der Stadt hört man die Glocken läuten, süß und schwer; die Straße führt zum Fluss.
Le garçon déjà âgé a mangé une crêpe près de la forêt. El niño comió piñones y después durmió.
В маленьком городе у моря каждое утро пишут новую страницу. Ночью пришли двенадцать лодок.
港の小さな町では、毎朝、帳簿に日付を書き、船を数えます。東京から来た人は驚きました。
小镇的早晨很安静，码头上有十二条船。老人说：今天的鱼很多，价格也不错。
작은 항구 마을의 아침은 조용합니다. 배가 열두 척 들어왔습니다.
في الصباح يكتب الكاتب عدد القوارب في الدفتر. שלום לכולם, הסירות הגיעו בלילה.
सुबह नाविक लौटते हैं और मछली बेचते हैं। ตอนเช้าเรือกลับมาที่ท่า 🚢🐟👩‍🚀 🎉🎉
Write to the harbour office, then to the harbour master, then to the harbour again and again.
"""

WRITTEN = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "a ", "  a", "a  ", "\n\n\n", " \n ", "\n a",
    "a\n", "Hello, world!", "The harbour town keeps its accounts.", " unreachable",
    "unreachable words",
    "it's IT'S It'S we've WE'VE they'll THEY'LL I'm I'M you're YOU'RE don't DON'T she'd SHE'D",
    "'s 'S 't 'T 'lL 'Re 'vE 'M 'D 'x 'X ''s '", "'\u017f it'\u017f IT'\u017fX",
    "\u2019s it\u2019s", "o'clock rock'n'roll 'tis d'être l'été", "'S'T'RE'VE'M'LL'D", "0", "12",
    "123", "1234", "12345678901234567890", "0" * 100, "3.14159", "1,299.50", "1e-5",
    "\u0661\u0662\u0663\u0664", "\u0967\u0968\u0969\u096a", "\u2167 \u2168", "\u00bd \u00b2\u00b3",
    "\u2460\u2461\u2462", "a1b2c3", "v1.2.3-rc4", "0x1F 0b1010", "\uff11\uff12\uff13\uff14",
    "a\u00a0b", "a\u2003b\u2009c", "\u3000\u3000a", "a\u200bb", "a\u1680b", "a\u180eb",
    "\u180e \u180e", "a\u2028b\u2029c", "a\x85b", "\x0b\x0c", "a \x0b b\x0cc", "\u202f\u205fx",
    "a\ufeffb", "\ufeffstart", "\x00", "a\x00b", "\x01\x02\x03\x1f\x7f", "\x80\x9f",
    "\x1b[31mred\x1b[0m", "bell\a back\b", "e\u0301", "\u00e9", "caf\u00e9 cafe\u0301",
    "A\u030a \u00c5 \u212b", "o\u0302\u0323 o\u0323\u0302 \u1ed9", "\u1100\u1161\u11a8 \uac01",
    "\u0344 \u0340\u0341 \u0374 \u037e", "\u2126 \u2160 \ufb01 \ufb06",
    "q\u0307\u0323 q\u0323\u0307", "\u0301 alone", "\u0958 \u0915\u093c", "\uf900 \u8c48",
    "\u0f73\u0f75", "a\u0300\u0301\u0302\u0303\u0304\u0305", "Z\u0351\u036b\u0343a\u0320\u0331lgo",
    "\u1e9b\u0323", "\U0001f600", "\U0001f469\u200d\U0001f680",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f \u2764",
    "\U0001f44d\U0001f3fd thumbs", "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\U0001f389" * 20, "a\U0001f600b", "\u6e2f\u306e\u5c0f\u3055\u306a\u753a",
    "\u6771\u4eac\u90fd", "\u30ab\u30bf\u30ab\u30ca \uff76\uff80\uff76\uff85",
    "\u5c0f\u9547\u7684\u65e9\u6668\u5f88\u5b89\u9759\uff0c", "\uc791\uc740 \ud56d\uad6c",
    "\U00020000\U0002a6d6", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643",
    "\u05e9\u05dc\u05d5\u05dd", "\u200fabc\u200e \u202eabc\u202c",
    "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
    "\u0e15\u0e2d\u0e19\u0e40\u0e0a\u0e49\u0e32", "\u0938\u0941\u092c\u0939",
    "\u092e\u091b\u0932\u0940", "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0",
    "\u0531\u0532\u0533", "\u13a0\u13a1",
    "\u0416\u0443\u043a \u0436\u0443\u0436\u0436\u0438\u0442",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u03c2\u03c3", "\u0130stanbul \u0131",
    "stra\u00dfe STRASSE", "\U00010400\U00010428", "\u01c5\u01c8", "\u2c80\u2c81", "\ua9c1\ua992",
    "\ue000 \uf8ff", "\U000f0000", "\ufffd", "\ufffe\uffff", "\ufdd0", "\U0010ffff",
    "\u2200x\u2208\u211d: x\u00b2\u22650", "\u2264\u2265\u2260", "\u20ac5 \u00a33 \u00a51",
    "\u00ab quoted \u00bb \u201cso\u201d \u2018so\u2019", "!!!", "...", "?!?!\n\n", "--- ---",
    "a-b_c.d/e\\f", "#$%&*@^~`|", "()[]{}<>", "x = y + z;\n", "a.\n\nb", "a,\r\nb", "a. \n b",
    ";\n\n\n}", "    indented\n\tcode\n  \t mixed\n", "trailing   \n   ",
    "def f(x):\n    return x  # done\n\n\nclass A:\n\tpass\n", "int main() { return 0; }",
    "\\n \\t \\\\", "https://example.org/a?b=c&d=%20#e", "user@example.org",
    "{\"key\": [1, 2.5, null, true]}", "a" * 300, " " * 50, "\n" * 40, " \n" * 20, "ab " * 40,
    "-" * 70, "the " * 30, "\t\t\t\tx", "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ",
    "<|endoftext|><|endoftext|>", "<|endoftext",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>", "<|im_start",
    "|im_end|>", "<|im_start|> <|im_end|>", "<|begin_of_text|>", "<|begin_of_text|>twice",
    "a <|eot_id|> b", "<|eot_id|>\n\n", "<tool_call>{}</tool_call>", "x<tool_call>y",
    "<tool_call><|im_end|>", "<tool", "<tool_call", "<<|im_end|>>", "<|im_end|",
    "caf\u00e9<|im_end|>e\u0301", "<left>", "a  <left>  b", "\u3000<left>", "<right>",
    "a  <right>  b", "<right>\n\tb", "<both>", " <both> ", "a \t<both>\n b", "<right>  <left>",
    "<right>  <both>  <left>", "<left><left>", "<right> <right> ", "word", "a word here", "sword",
    "words", "word.", "(word)", "_word", "word2", "\u00e9word", "\u24dfword", "word\u200d",
    "word\u0301", "wordword word", "word\u203f", "WORD Word", "r\u00e9sum\u00e9",
    "re\u0301sume\u0301", "my r\u00e9sum\u00e9s", "<ab><abc><abcd>", "<abc", "<abcd", "<ab",
    "<ab>c", "<|a|><|ab|>", "  <ab>  ", "spaced  out", "a-b--c---d", "--", "-a", "a-", "- - -",
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCxyz'sStTdDmM", "0123456789", " \t\n\r\u00a0\u3000\u2003",
    ".,;:!?-_()[]{}<>|/\\\"'", "\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u00ea\u00f1\u00e7",
    "\u0430\u0431\u0432\u0433\u0434\u0436\u0438\u043b",
    "\u6e2f\u5c0f\u753a\u65e9\u6668\u5b89\u9759\u306e\u3055\u306a\u3001\u3002",
    "\u0301\u0302\u0308\u0323\u0327\u0331", "\u0627\u0628\u062a\u0643\u0644\u05d0\u05d1\u05d2",
    "\U0001f600\U0001f680\U0001f3fd\u200d\ufe0f\U0001f469",
    "\x00\x01\x08\x1f\x7f\x85\u200b\u2028\ufeff",
    "\u0905\u0906\u0915\u093c\u094d\u0e01\u0e40\u0e49", "\u2460\u00bd\u00b2\u2167\u0661\u0967",
]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<tool_call>", "<left>",
            "<right>", "<both>", "word", " the", "'s", "'LL", "\n\n", "  "]


def make_texts():
    rng = random.Random(20)
    texts = list(WRITTEN) + [line for line in CORPUS.splitlines() if line]
    while len(texts) < 400:
        parts = []
        for _ in range(rng.randint(1, 7)):
            if rng.random() < 0.25:
                parts.append(rng.choice(SPECIALS))
            else:
                alphabet = rng.choice(ALPHABETS)
                parts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 7))))
        texts.append("".join(parts))
    return texts


def train(pre_tokenizer, vocab_size, normalizer=None, special_tokens=()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special_tokens),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    # The second copy has blank lines, for tokens of several line ends.
    tokenizer.train_from_iterator([CORPUS, CORPUS.replace("\n", "\n\n")], trainer)
    return tokenizer


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def special(content):
    return AddedToken(content, special=True, normalized=False)


def gpt2():
    """Merges as strings and no model type, as the files of the first years have them."""
    tokenizer = train(pre_tokenizers.ByteLevel(add_prefix_space=False), 800)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([special("<|endoftext|>")])
    document = json.loads(tokenizer.to_str())
    model = document["model"]
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    del model["type"], model["ignore_merges"], model["byte_fallback"]
    return document


def llama3():
    tokenizer = train(split_then_bytes(LLAMA3_PATTERN), 700)
    # A whole piece that no merge makes: ignore_merges finds it all the same.
    document = json.loads(tokenizer.to_str())
    document["model"]["ignore_merges"] = True
    for word in ("\u0120unreachable", "unreachable", "\u0120harbours"):
        document["model"]["vocab"][word] = len(document["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.add_special_tokens([special(t) for t in ("<|begin_of_text|>", "<|end_of_text|>",
                                                       "<|eot_id|>")])
    bos = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B",
                                      special_tokens=[bos])])
    return json.loads(tokenizer.to_str())


def qwen2():
    tokenizer = train(split_then_bytes(QWEN2_PATTERN), 600, normalizer=normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([special(t) for t in ("<|endoftext|>", "<|im_start|>",
                                                       "<|im_end|>")])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False),
                          AddedToken("</tool_call>", normalized=False)])
    return json.loads(tokenizer.to_str())


def mixed():
    """What else a file may hold: every option of added tokens, prefix spaces, several stages."""
    tokenizer = train(
        pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split("-", behavior="merged_with_next"),
            pre_tokenizers.Split(Regex(r"[\r\n]"), behavior="contiguous"),
            pre_tokenizers.Split(Regex(r"[!?]"), behavior="merged_with_previous"),
            pre_tokenizers.Split(Regex(r"~|[^`]"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True)]),
        500, normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.NFC()]),
        special_tokens=["<|endoftext|>"])
    tokenizer.add_special_tokens([
        AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
        AddedToken("<both>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([
        AddedToken("word", single_word=True), AddedToken("r\u00e9sum\u00e9", normalized=True),
        AddedToken("<ab>", normalized=False), AddedToken("<abc", normalized=False),
        AddedToken("<abcd>", normalized=False), AddedToken("out", single_word=True, lstrip=True)])
    return json.loads(tokenizer.to_str())


DEEPSEEK_SPLITS = [
    "[\r\n]", "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0410-\u044f\u0531-\u0556]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", "\\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"]


def deepseek():
    """Several patterns one after the other, digits on their own, then bytes."""
    tokenizer = train(pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in DEEPSEEK_SPLITS] +
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        600, normalizer=normalizers.Sequence([]))
    tokenizer.add_special_tokens([special("<|endoftext|>"),
                                  special("<\uff5cend\u2581of\u2581sentence\uff5c>")])
    tokenizer.add_tokens([AddedToken("<|tool_call|>", normalized=False)])
    return json.loads(tokenizer.to_str())


def sentencepiece(vocab_size, byte_fallback=True, limit_alphabet=150):
    """As SentencePiece's BPE is converted: no merge across words, bytes for rare characters."""
    own = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=byte_fallback))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=own + byte_tokens,
                                  limit_alphabet=limit_alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS.splitlines(), trainer)
    document = json.loads(tokenizer.to_str())
    # The byte tokens are tokens of the model, not text to be found in a text.
    document["added_tokens"] = [t for t in document["added_tokens"] if t["content"] in own]
    document["pre_tokenizer"] = None
    replace = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    document["decoder"] = {"type": "Sequence", "decoders": [
        replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}
    bos = {"id": "<s>", "ids": [1], "tokens": ["<s>"]}
    document["post_processor"] = {
        "type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [], "special_tokens": {"<s>": bos}}
    return document


SPELL_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}


def llama2():
    """Spaces by normalizers, merges as strings, as the first conversions have them."""
    document = sentencepiece(900)
    document["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, SPELL_SPACES]}
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    return document


def mistral():
    """Spaces by a pre-tokenizer, before the first word only."""
    document = sentencepiece(1000)
    document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581",
                                 "prepend_scheme": "first", "split": False}
    return document


def gemma():
    """No space before the text; runs of spaces and line ends are added tokens."""
    document = sentencepiece(800, limit_alphabet=90)
    document["normalizer"] = SPELL_SPACES
    document["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "},
                                 "behavior": "MergedWithPrevious", "invert": False}
    document["decoder"]["decoders"].pop()
    vocab = document["model"]["vocab"]
    for content in ("\u2581\u2581", "\u2581\u2581\u2581", "\n", "\n\n", "<table>", "<start_of_turn>",
                    "<end_of_turn>"):
        turn = content.endswith("_turn>")
        document["added_tokens"].append({
            "id": vocab.setdefault(content, len(vocab)), "content": content, "single_word": False,
            "lstrip": False, "rstrip": False, "normalized": not turn, "special": turn})
    return document


def characters():
    """No bytes to fall back on: a run of unknown characters is one unknown token."""
    document = sentencepiece(500, byte_fallback=False, limit_alphabet=60)
    document["normalizer"] = {"type": "NFC"}
    document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581",
                                 "prepend_scheme": "always", "split": True}
    document["model"]["ignore_merges"] = True
    return document


def random_source():
    """Words, spaces, and ranges of characters that have been in Unicode for long: what a new
    character is depends on the version that a library was made for."""
    known = [c for c in range(0x110000)
             if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs")] + list(
                 range(0x1f300, 0x1f321)) + list(range(0x1f600, 0x1f641))
    ranges = []
    for c in known:
        if ranges and ranges[-1][0] + ranges[-1][1] == c:
            ranges[-1][1] += 1
        else:
            ranges.append([c, 1])
    words = sorted(set(CORPUS.split())) + SPECIALS + [
        "<s>", "</s>", "<unk>", "<0x41>", "\u2581", "<end_of_turn>", "<|begin_of_text|>",
        "r\u00e9sum\u00e9", "<|tool_call|>"]
    return {"words": words, "spaces": [" ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000"],
            "ranges": ranges}


class SplitMix64:
    """The generator of that name: one step adds the golden ratio and mixes the sum."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state + 0x9e3779b97f4a7c15) % 2**64
        z = self.state
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9 % 2**64
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb % 2**64
        return (z ^ (z >> 31)) % limit


def random_text(index, source):
    """Up to 23 parts: a character of any range, one of ASCII, a word, or white space."""
    rng = SplitMix64(index)
    parts = []
    for _ in range(rng.below(24)):
        kind = rng.below(4)
        if kind == 0:
            first, count = source["ranges"][rng.below(len(source["ranges"]))]
            parts.append(chr(first + rng.below(count)))
        elif kind == 1:
            parts.append(chr(rng.below(128)))
        else:
            options = source["words" if kind == 2 else "spaces"]
            parts.append(options[rng.below(len(options))])
    return "".join(parts)


def random_hash(tokenizer, text):
    """FNV-1a, 32 bits, of the ids as u32: those of the text, 2^32 - 1, and those of the text with
    special tokens switched off."""
    tokenizer.encode_special_tokens = False
    ids = tokenizer.encode(text).ids + [2**32 - 1]
    tokenizer.encode_special_tokens = True
    ids += tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = False
    value = 0x811c9dc5
    for byte in struct.pack(f"<{len(ids)}I", *ids):
        value = (value ^ byte) * 0x01000193 % 2**32
    return struct.pack("<I", value)


# To decode, `tokenizers` takes a whole run of byte tokens for broken when one of its bytes is; ours
# streams, and replaces the bytes that are no characters.
def decodes_alike(tokenizer, ids):
    run = b""
    for token in [tokenizer.id_to_token(i) for i in ids] + [""]:
        if len(token) == 6 and token.startswith("<0x"):
            run += bytes([int(token[3:5], 16)])
            continue
        try:
            run.decode()
        except UnicodeDecodeError:
            return False
        run = b""
    return True


def expect(tokenizer, texts):
    rng = random.Random(21)
    ids = [tokenizer.encode(text).ids for text in texts]
    # Some added tokens of these fixtures are not ASCII; `tokenizers` decodes those as if they were
    # spelt in the byte alphabet. Our decoder gives their text, so they are left out here.
    size = tokenizer.get_vocab_size()
    odd = {i for i, t in tokenizer.get_added_tokens_decoder().items() if not t.content.isascii()}
    id_lists = []
    while len(id_lists) < 100:
        ids_of_list = [rng.choice([i for i in range(size) if i not in odd])
                       for _ in range(rng.randint(1, 30))]
        if decodes_alike(tokenizer, ids_of_list):
            id_lists.append(ids_of_list)
    decoded = [None if odd & set(i) else tokenizer.decode(i, skip_special_tokens=True) for i in ids]
    expected = {"ids": ids, "decoded": decoded, "id_lists": id_lists,
                "id_texts": [tokenizer.decode(i, skip_special_tokens=True) for i in id_lists]}
    tokenizer.encode_special_tokens = True
    expected["plain_ids"] = [tokenizer.encode(text, add_special_tokens=False).ids
                             for text in texts]
    return expected


def dump(value, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")
    assert path.stat().st_size < 200_000, path


def main():
    texts = make_texts()
    assert len(texts) >= 400
    dump(texts, ROOT / "texts.json")
    source = random_source()
    dump(source, ROOT / "random.json")
    for make in (gpt2, llama3, qwen2, mixed, deepseek, llama2, mistral, gemma, characters):
        document = make()
        tokenizer = Tokenizer.from_str(json.dumps(document))
        folder = ROOT / make.__name__
        dump(document, folder / "tokenizer.json")
        dump(expect(tokenizer, texts), folder / "expected.json")
        (folder / "random_ids.u32").write_bytes(b"".join(
            random_hash(tokenizer, random_text(i, source)) for i in range(NUM_RANDOM_TEXTS)))
        print(make.__name__, tokenizer.get_vocab_size(), "tokens")


if __name__ == "__main__":
    main()
