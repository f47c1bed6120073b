#!/usr/bin/env python3
"""Random texts through the program's tokenizers and through those of PyPI's `tokenizers`, with each rule's own regular expressions:
combining marks, jamo, half-width forms, markup, special tokens, code, digits, spaces. The vocabulary is one in which any two bytes may
merge, so that a cut in the wrong place is seen; and qwen2.5-coder-0.5b's, where it is.

check_tokenizers.py TEST_TOKENS [SEED [PRE=FILE ...]]     77: `tokenizers` is not there
With FILE, the tokenizer.json that a model was published with: random texts and every token's own, by all that the file says of itself; PRE is the
rule that is to agree, gpt-4o for instance, or gemma4."""
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

try:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
except ImportError:
    sys.exit(77)

CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
SPACES = r'\s+(?!\S)|\s+'
GPT2 = rf"{CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{SPACES}"


def llama3(digits, letter=r'\p{L}', flags='i'):
    other = letter.strip('[]')
    return (rf"(?{flags}:{CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?{letter}+|{digits}| ?[^\s{other}\p{{N}}]+[\r\n]*|\s*[\r\n]+|{SPACES}")


def by_case(digits, ending):
    upper, lower = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
    start = r'[^\r\n\p{L}\p{N}]?'
    return rf'{start}{upper}*{lower}+{ending}|{start}{upper}+{lower}*{ending}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|{SPACES}'


# tokenizer.ggml.pre: the rule's expressions, applied in turn; whether a piece that is a token is taken whole; whether text is composed.
RULES = {
    'gpt-2': ([GPT2], False, False),
    'smollm': ([r'\p{N}', GPT2], False, False),
    'qwen2': ([llama3(r'\p{N}')], False, True),
    'llama-bpe': ([llama3(r'\p{N}{1,3}')], True, False),
    'glm4': ([llama3(r'\p{N}{1,3}')], False, False),
    'tekken': ([by_case(r'\p{N}', '')], True, False),
    'gpt-4o': ([by_case(r'\p{N}{1,3}', f'(?i:{CONTRACTIONS})?')], False, False),
    'qwen35': ([llama3(r'\p{N}', r'[\p{L}\p{M}]')], False, True),
    'minicpm5': ([r'\p{N}{1,3}', llama3(r'\p{N}+')], True, False),
    'deepseek-coder': ([r'[\r\n]', r'\s?\p{L}+', r'\s?\p{P}+', '[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+', r'\p{N}'], False, False),
    'deepseek-v3': ([r'\p{N}{1,3}', '[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
                     r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|""" + SPACES],
                    False, False),
    'default': ([r'[\p{P}\$\+<=>\^~\|]+', GPT2.rsplit('|', 1)[0], r'\p{N}+', '[0-9][0-9][0-9]'], False, False),
}

WORDS = ['hello', ' world', "don't", "I'LL", "it's", "THEY'RE", "'\u017f", ' x1', 'foo_bar', ' ', '  ', '\n', '\n\n', '\r\n', '\t', '...', '!?', ' =>', '/*', '*/', '//', '$x', '^', '~', '|',
         '12345', ' 7', '\u0967\u0968', '\u00bd', '\u2155', '<b>', '</b>', '</s>', '<s>', '<|im_end|>', '<|im_start|>', '<|endoftext|>', '<|im_end', '<|', '|>', '<tool_call>',
         'caf\u00e9', 'cafe\u0301', 'A\u030a', '\u212b', '\u2126', 'q\u0323\u0307', 'q\u0307\u0323', '\u0344', '\u0958', '\u1e9b\u0323', '\u1112\u1161\u11ab', '\uac00\u11a8', '\ud55c\uad6d\uc5b4',
         '\uff76\uff9e', '\u30ab\u3099', '\u304b\u3099', '\uff21\uff22', '\u4e16\u754c', ' \u4e16', '\u3000', '\u00a0', '\u2003', '\u0130stanbul', '\u01c5', '\u02b0', '\u0391\u03b8\u03ae\u03bd\u03b1',
         '\u041c\u043e\u0441\u043a\u0432\u0430', '\u092e\u0941\u091d\u0947', '\u0e44\u0e17\u0e22', '\u05e9\u05c1\u05b8', '\u0644\u0627', '\U0001f44d\U0001f3fd', '\U0001f1e9\U0001f1ea', '\u200d', '\ufe0f', '\u0338', '=\u0338', '<\u0338', '>\u0338',
         'HTTPServer', 'iPhone', '\u00c9cole', 'Stra\u00dfe', '\ufb01n', '#include', '\u2014', '\u00ab\u00bb', '\u20ac', '\u0300', '\u1dc4\u0315\u0300']

NEW = {0x9fe, 0xc3c, 0xd3b, 0xd3c,  # later than the tables of that package, Unicode 9: not reordered there
             0x2427, 0x2428, 0x2429}  # later than those of utf8proc in Debian 12, Unicode 15: unassigned there


def read_vocabulary(path):
    """The metadata under tokenizer.ggml of a GGUF file."""
    with open(path, 'rb') as f:
        def take(kind):
            return struct.unpack('<' + kind, f.read(struct.calcsize(kind)))[0]

        def text():
            return f.read(take('Q')).decode()

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                element, n = take('I'), take('Q')
                return [value(element) for _ in range(n)]
            return take('BbHhIif?..QqD'[kind] if kind != 12 else 'd')
        assert f.read(4) == b'GGUF' and take('I') == 3
        take('Q')
        return {name: found for name, found in ((text(), value(take('I'))) for _ in range(take('Q'))) if name.startswith('tokenizer.ggml.')}


def write_vocabulary(path, keys):
    """A GGUF file that holds strings, and arrays of strings and integers."""
    def text(s):
        data = s.encode()
        return struct.pack('<Q', len(data)) + data

    def value(v):
        if isinstance(v, str):
            return struct.pack('<I', 8) + text(v)
        if isinstance(v, bool):
            return struct.pack('<I?', 7, v)
        if isinstance(v, int):
            return struct.pack('<II', 4, v)
        if isinstance(v[0], str):
            return struct.pack('<IIQ', 9, 8, len(v)) + b''.join(map(text, v))
        return struct.pack(f'<IIQ{len(v)}i', 9, 5, len(v), *v)
    with open(path, 'wb') as f:
        f.write(b'GGUF' + struct.pack('<IQQ', 3, 0, len(keys)) + b''.join(text(k) + value(v) for k, v in keys.items()))


def any_two_bytes():
    """256 bytes, all pairs of them in a random order, and a few special tokens."""
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    other = [b for b in range(256) if b not in plain]
    byte = [chr(b) if b in plain else chr(0x100 + other.index(b)) for b in range(256)]
    pairs = [(a, b) for a in byte for b in byte]
    random.Random(1).shuffle(pairs)
    special = ['<|im_end|>', '<|im_start|>', '<|endoftext|>']
    tokens = [*byte, *(a + b for a, b in pairs), *special]
    return {'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.token_type': [1] * (len(tokens) - 3) + [3] * 3,
            'tokenizer.ggml.merges': [f'{a} {b}' for a, b in pairs]}


def some_characters():
    """Most characters of WORDS, random pairs of them, runs of spaces and newlines, and the 256 bytes."""
    rng = random.Random(1)
    characters = sorted({c for word in WORDS for c in word.replace(' ', '\u2581')} - set('q\u4e16\u20ac'))
    pairs = [('\u2581', '\u2581'), ('\n', '\n'), ('\n\n', '\n')]
    pairs += [(a, b) for a, b in rng.sample([(a, b) for a in characters for b in characters], 4000) if ('\n' in a + b) is (a + b == '\n\n') and (a, b) not in pairs]
    special = ['<|im_end|>', '<|im_start|>', '<|endoftext|>']
    tokens = ['<unk>', *(f'<0x{b:02X}>' for b in range(256)), *characters, *(a + b for a, b in pairs), *special]
    return {'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.token_type': [2] + [6] * 256 + [1] * (len(tokens) - 260) + [3] * 3,
            'tokenizer.ggml.merges': [f'{a} {b}' for a, b in pairs]}


def model_of(keys, rule):
    """The same tokenizer out of the parts of PyPI's."""
    expressions, whole, nfc = RULES.get(rule, ([], False, False))
    tokens, types = keys['tokenizer.ggml.tokens'], keys['tokenizer.ggml.token_type']
    vocabulary = {}
    for i, token in enumerate(tokens):
        vocabulary.setdefault(token, i)
    merges = [tuple(m.split(' ')) for m in keys['tokenizer.ggml.merges']]
    t = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=whole))
    if rule == 'gemma4':
        t = Tokenizer(models.BPE(vocabulary, merges, unk_token='<unk>', fuse_unk=True, byte_fallback=True))
        t.normalizer = normalizers.Replace(' ', '\u2581')
    if nfc:
        t.normalizer = normalizers.NFC()
    if rule != 'gemma4':
        splits = [pre_tokenizers.Split(Regex(e), 'isolated') for e in expressions]
        t.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s, kind in zip(tokens, types) if kind == 3])
    t.add_tokens([AddedToken(s, normalized=False) for s, kind in zip(tokens, types) if kind == 4])
    return t


def random_text(rng):
    def part():
        if rng.random() < 0.75:
            return rng.choice(WORDS)
        low, high = rng.choice([(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x5d0, 0x6ff), (0x900, 0xd7f), (0x1100, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2e00),
                                (0x3040, 0x3100), (0xac00, 0xac40), (0xf900, 0xfa6d), (0xff00, 0xffef), (0x1f300, 0x1f650), (0, 0x20)])
        drawn = [rng.randrange(low, high) for _ in range(rng.randint(1, 3))]
        return ''.join(chr(c) for c in drawn if c not in NEW)
    return ''.join(part() for _ in range(rng.randint(1, 14)))


def published(path, rule):
    """The vocabulary of a tokenizer.json, that tokenizer, and the texts of its tokens."""
    with open(path) as f:
        parts = json.load(f)
    added = parts['added_tokens']
    size = 1 + max([*parts['model']['vocab'].values(), *(a['id'] for a in added)])
    tokens, types = [f'[unused {i}]' for i in range(size)], [5] * size
    for token, i in parts['model']['vocab'].items():
        tokens[i], types[i] = token, 6 if rule == 'gemma4' and re.fullmatch('<0x..>', token) else 1
    for a in added:
        tokens[a['id']], types[a['id']] = a['content'], 3 if a['special'] else 4
    model = Tokenizer.from_file(path)
    texts = [model.decode([i]) for i in range(size) if types[i] == 1]
    merges = [m if isinstance(m, str) else ' '.join(m) for m in parts['model']['merges']]
    return {'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.token_type': types, 'tokenizer.ggml.merges': merges}, model, texts


def check(program, keys, rule, folder, rng, n_texts, model=None, texts=()):
    model = model or model_of(keys, rule)
    gguf, rows = folder / f'{rule}.gguf', folder / f'{rule}.jsonl'
    write_vocabulary(gguf, {k: keys['tokenizer.ggml.' + k.rsplit('.', 1)[1]] for k in ('tokenizer.ggml.tokens', 'tokenizer.ggml.token_type', 'tokenizer.ggml.merges')}
                     | {'tokenizer.ggml.model': 'gemma4' if rule == 'gemma4' else 'gpt2', 'tokenizer.ggml.pre': rule})
    with open(rows, 'w') as f:
        for i, text in enumerate([*(random_text(rng) for _ in range(n_texts)), *texts]):
            model.encode_special_tokens = i % 4 == 3
            ids = model.encode(text, add_special_tokens=False).ids
            print(json.dumps({'text': text, 'add_special': False, 'parse_special': i % 4 != 3, 'ids': ids}), file=f)
    done = subprocess.run([program, 'rows', rows, gguf], capture_output=True, text=True)
    print(f'{rule}: {n_texts + len(texts)} texts', 'agree' if done.returncode == 0 else 'DIFFER\n' + done.stdout + done.stderr)
    return done.returncode == 0


def main():
    path = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'fastkv/qwen2.5-coder-0.5b.gguf'
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 17
    n_texts = int(os.environ.get('FKV_TEXTS', 400))
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 3:
            files = [(rule, *published(path, rule)) for rule, path in (a.split('=', 1) for a in sys.argv[3:])]
            return 0 if all([check(sys.argv[1], keys, rule, pathlib.Path(folder), random.Random(seed), n_texts, model, texts)
                             for rule, keys, model, texts in files]) else 1
        pairs = any_two_bytes()
        good = [check(sys.argv[1], pairs, rule, pathlib.Path(folder), random.Random(f'{seed} {rule}'), n_texts) for rule in RULES]
        good.append(check(sys.argv[1], some_characters(), 'gemma4', pathlib.Path(folder), random.Random(f'{seed} gemma4'), n_texts))
        if path.is_file():
            good.append(check(sys.argv[1], read_vocabulary(path), 'qwen2', pathlib.Path(folder), random.Random(f'{seed} real'), n_texts))
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main())
