#!/usr/bin/env python3
"""Random small model files of every architecture, with every optional tensor and odd key there or not, through FastKV and through llama.cpp.

  tests/sweep_models.py PROGRAM [--files 500] [--seed 1] [--only N] [--keep DIR]

Logits on --exact are compared with those of llama.cpp's library (fetched as bench/peers.py does) and of a forward pass in NumPy, within 0.01. What
llama.cpp refuses is compared with NumPy alone. Prints a line for every file that differs and a table of who refused what; ends with 1 when
something differs. By hand, not in CI: it needs npm, git and NumPy.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'bench'))
import peers  # noqa: E402

N_VOCAB = 40
TOLERANCE = 0.01
ARCHS = ('llama', 'qwen2', 'qwen3')
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: 'B', I8: 'b', U16: 'H', I16: 'h', U32: 'I', I32: 'i', F32: 'f', BOOL: '?', U64: 'Q', I64: 'q', F64: 'd'}
# What llama.cpp takes; a few files go beyond it, and are compared with NumPy alone.
BIASES = {'llama': ('attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'),
          'qwen2': ('attn_q', 'attn_k', 'attn_v', 'output'), 'qwen3': ('attn_q', 'attn_k', 'attn_v')}
BEYOND = 0.02
TYPES = {'F32': 0, 'F16': 1, 'Q8_0': 8, 'BF16': 30}


# ---- a file -----------------------------------------------------------------------------------------------------------------------------------------

def packed_str(s):
    return struct.pack('<Q', len(s.encode())) + s.encode()


def packed(kind, value):
    return packed_str(value) if kind == STR else struct.pack('<' + FORMATS[kind], value)


def packed_key(name, kind, value):
    if isinstance(value, list):
        return packed_str(name) + struct.pack('<IIQ', ARRAY, kind, len(value)) + b''.join(packed(kind, v) for v in value)
    return packed_str(name) + struct.pack('<I', kind) + packed(kind, value)


def stored(x, type_name):
    """The bytes of an array as the type stores it, and the values they stand for."""
    x = np.ascontiguousarray(x, np.float32)
    if type_name == 'F16':
        half = x.astype(np.float16)
        return half.tobytes(), half.astype(np.float32)
    if type_name == 'BF16':
        bits = (x.view(np.uint32) + 0x8000) >> 16
        return bits.astype(np.uint16).tobytes(), (bits << 16).astype(np.uint32).view(np.float32)
    if type_name == 'Q8_0':
        blocks = x.reshape(-1, 32)
        scale = (np.abs(blocks).max(1) / 127).astype(np.float16)
        q = np.clip(np.rint(blocks / np.maximum(scale.astype(np.float32), 1e-12)[:, None]), -127, 127).astype(np.int8)
        data = b''.join(s.tobytes() + row.tobytes() for s, row in zip(scale, q))
        return data, (q * scale.astype(np.float32)[:, None]).reshape(x.shape)
    return x.tobytes(), x


class File:
    def __init__(self):
        self.keys, self.tensors, self.values = {}, {}, {}

    def key(self, name, kind, value):
        self.keys[name] = (kind, value)

    def tensor(self, name, x, type_name='F32'):
        if x.shape[-1] % 32:
            type_name = 'F32' if type_name == 'Q8_0' else type_name
        data, self.values[name] = stored(x, type_name)
        self.tensors[name] = (TYPES[type_name], x.shape, data)

    def write(self, path, as_floats=False):
        """as_floats: the same values in F32, for a program that rounds activations to the weights' type."""
        out = struct.pack('<4sIQQ', b'GGUF', 3, len(self.tensors), len(self.keys))
        out += b''.join(packed_key(name, *key) for name, key in self.keys.items())
        data = b''
        for name, (kind, shape, stored_bytes) in self.tensors.items():
            if as_floats:
                kind, stored_bytes = 0, np.ascontiguousarray(self.values[name], np.float32).tobytes()
            data += bytes(-len(data) % 32)
            out += packed_str(name) + struct.pack('<I', len(shape)) + struct.pack(f'<{len(shape)}Q', *reversed(shape)) + struct.pack('<IQ', kind, len(data))
            data += stored_bytes
        pathlib.Path(path).write_bytes(out + bytes(-len(out) % 32) + data)


# ---- a random model ---------------------------------------------------------------------------------------------------------------------------------

class Shape:
    pass


def random_shape(r):
    s = Shape()
    s.arch = r.choice(ARCHS)
    s.n_layer = r.randint(1, 3)
    s.n_kv = r.choice((1, 1, 2, 3, 5))
    s.n_head = s.n_kv * r.choice((1, 2, 3, 4, 7))
    s.d_head = 2 * r.choice((1, 4, 5, 8, 16, 20, 32))
    s.d_model = s.n_head * s.d_head
    if r.random() < (BEYOND if s.arch == 'qwen2' else 0.8):
        s.d_model = r.choice((r.randint(4, 100), 32, 64, 96))
    s.d_ff = [r.choice((r.randint(4, 150), 32, 64, 128))] * s.n_layer
    if r.random() < 0.1:
        s.d_ff = [r.choice((32, 44, 64, 96)) for _ in range(s.n_layer)]
    s.n_rot = s.d_head
    if r.random() < BEYOND:
        s.n_rot = 2 * r.randint(1, s.d_head // 2)
    s.type = r.choice(('F32', 'F32', 'F16', 'BF16', 'Q8_0'))
    s.eps = r.choice((1e-5, 1e-6, 1e-3))
    return s


def put_shape(f, s, r):
    key = lambda name, kind, value: f.key(f'{s.arch}.{name}', kind, value)
    integer = r.choice((I32, U64, U16)) if r.random() < BEYOND else U32
    per_layer = lambda name, values: key(name, U32 if r.random() < 0.7 else I32, values) if len(set(values)) > 1 or r.random() < 0.15 else key(name, integer, values[0])
    f.key('general.architecture', STR, s.arch)
    key('block_count', integer, s.n_layer)
    key('context_length', integer, 512)
    key('embedding_length', integer, s.d_model)
    per_layer('feed_forward_length', s.d_ff)
    per_layer('attention.head_count', [s.n_head] * s.n_layer)
    if s.n_kv != s.n_head or r.random() < 0.5:
        per_layer('attention.head_count_kv', [s.n_kv] * s.n_layer)
    if s.d_model // s.n_head != s.d_head or r.random() < 0.5:
        key('attention.key_length', integer, s.d_head)
        key('attention.value_length', integer, s.d_head)
    if s.n_rot != s.d_head or r.random() < 0.3:
        key('rope.dimension_count', integer, s.n_rot)
    if r.random() < 0.97 or s.eps != 1e-5:
        key('attention.layer_norm_rms_epsilon', F32, s.eps)
    s.base = r.choice((10000.0, 500000.0, 1e6))
    if s.base != 10000 or r.random() < 0.5:
        key('rope.freq_base', F32, s.base)


def put_rope_scaling(f, s, r):
    key = lambda name, kind, value: f.key(f'{s.arch}.{name}', kind, value)
    s.scale, s.magnitude = 1.0, 1.0
    kind = r.choice(('', '', '', 'factor', 'old', 'linear', 'none', 'zero', 'yarn 1', 'both', 'yarn'))
    factor = r.choice((2.0, 4.0, 8.0, 0.5))
    if kind in ('linear', 'none'):
        key('rope.scaling.type', STR, kind)
    if kind.startswith('yarn'):
        key('rope.scaling.type', STR, 'yarn')
        key('rope.scaling.original_context_length', U32, 128)
    if kind in ('factor', 'linear', 'none', 'both', 'yarn'):
        key('rope.scaling.factor', F32, factor)
    if kind in ('zero', 'yarn 1'):
        key('rope.scaling.factor', F32, float(kind != 'zero'))
    if kind in ('old', 'both'):
        key('rope.scale_linear', F32, 3.0 if kind == 'both' else factor)
    if kind in ('factor', 'old', 'linear', 'both'):
        s.scale = factor
    if r.random() < 0.1:
        s.magnitude = r.choice((1.0, 1.2))
        key('rope.scaling.attn_factor', F32, s.magnitude)
    s.rope_kind = kind
    if r.random() < 0.1:
        key('rope.scaling.finetuned', BOOL, r.random() < 0.5)


def put_odd_keys(f, s, r):
    """Keys that a run does not need, whatever they are."""
    odd = [('general.name', STR, 'sweep'), ('general.file_type', U32, 1000), ('general.tags', STR, ['a', 'b']), (f'{s.arch}.vocab_size', U32, N_VOCAB),
           (f'{s.arch}.attention.sliding_window', U32, 4), (f'{s.arch}.expert_count', U32, 0), (f'{s.arch}.tensor_data_layout', STR, 'Meta AI original pth'),
           ('quantize.imatrix.entries_count', I32, -1), ('x.unknown', F64, 1e300), ('general.quantization_version', U32, 99), ('empty', STR, []),
           (f'{s.arch}.use_parallel_residual', BOOL, True), (f'{s.arch}.attention.layer_norm_epsilon', F32, 0.5), ('tokenizer.chat_template', STR, '{{ nonsense'),
           ('tokenizer.ggml.padding_token_id', U32, 4_000_000), ('tokenizer.ggml.eos_token_id', U32, 2), ('tokenizer.ggml.add_bos_token', BOOL, False),
           ('tokenizer.ggml.eos_token_id', U32, 32000), ('tokenizer.ggml.pre', STR, 'default'), ('tokenizer.ggml.eot_token_id', U32, 3)]
    for name, kind, value in r.sample(odd, r.choice((0, 0, 1, 2, 4))):
        f.key(name, kind, value)


def put_vocabulary(f):
    f.key('tokenizer.ggml.model', STR, 'llama')
    f.key('tokenizer.ggml.tokens', STR, ['<unk>', '<s>', '</s>'] + [chr(97 + i % 26) * (1 + i // 26) for i in range(N_VOCAB - 3)])
    f.key('tokenizer.ggml.scores', F32, [-float(i) for i in range(N_VOCAB)])
    f.key('tokenizer.ggml.token_type', I32, [2, 3, 3] + [1] * (N_VOCAB - 3))
    f.key('tokenizer.ggml.bos_token_id', U32, 1)


def put_weights(f, s, r):
    g = np.random.default_rng(r.getrandbits(32))
    matrix = lambda name, rows, cols: f.tensor(name, g.uniform(-2 / np.sqrt(cols), 2 / np.sqrt(cols), (rows, cols)), s.type)
    norm = lambda name, n: f.tensor(name, g.uniform(0.5, 1.5, n))
    bias = lambda name, n: f.tensor(name, g.uniform(-0.5, 0.5, n), r.choice(('F32', 'F32', 'F16')))
    q, kv = s.n_head * s.d_head, s.n_kv * s.d_head
    biases = [b for b in BIASES['llama'] + ('output',) if r.random() < (0.3 if b in BIASES[s.arch] else BEYOND)]
    if s.arch == 'qwen2' and r.random() < 0.6:
        biases += ['attn_q', 'attn_k', 'attn_v']
    fused, fused_bias = r.random() < 0.2, r.random() < 0.5
    f.tensor('token_embd.weight', g.uniform(-1, 1, (N_VOCAB, s.d_model)), s.type)
    norm('output_norm.weight', s.d_model)
    if r.random() < 0.5:
        matrix('output.weight', N_VOCAB, s.d_model)
    if 'output' in biases:
        bias('output.bias', N_VOCAB)
    if r.random() < (0.25 if s.arch == 'llama' else BEYOND):
        f.tensor('rope_freqs.weight', g.uniform(1, 8, s.n_rot // 2))
    for l in range(s.n_layer):
        b = f'blk.{l}.'
        sizes = {'attn_q': q, 'attn_k': kv, 'attn_v': kv, 'attn_output': s.d_model, 'ffn_gate': s.d_ff[l], 'ffn_up': s.d_ff[l], 'ffn_down': s.d_model}
        norm(b + 'attn_norm.weight', s.d_model)
        norm(b + 'ffn_norm.weight', s.d_model)
        if fused:
            matrix(b + 'attn_qkv.weight', q + 2 * kv, s.d_model)
        for name, rows in sizes.items():
            cols = {'attn_output': q, 'ffn_down': s.d_ff[l]}.get(name, s.d_model)
            if not (fused and name in ('attn_q', 'attn_k', 'attn_v')):
                matrix(f'{b}{name}.weight', rows, cols)
            if name in biases and r.random() < 0.9 and not (fused and fused_bias and name in ('attn_q', 'attn_k', 'attn_v')):
                bias(f'{b}{name}.bias', rows)
        if fused and fused_bias and 'attn_q' in biases:
            bias(b + 'attn_qkv.bias', q + 2 * kv)
        if s.arch == 'qwen3':
            norm(b + 'attn_q_norm.weight', s.d_head)
            norm(b + 'attn_k_norm.weight', s.d_head)
    odd = r.choice([None] * 100 + ['v.blk.0.ln1.weight', 'mm.0.weight', 'blk.0.attn_sinks.weight', 'blk.0.attn_norm.bias', 'blk.0.attn_q.scale', 'unknown'])
    if odd:
        f.tensor(odd, g.uniform(-1, 1, s.d_model))


def random_file(seed):
    r = random.Random(seed)
    f, s = File(), random_shape(r)
    put_shape(f, s, r)
    put_rope_scaling(f, s, r)
    put_vocabulary(f)
    put_odd_keys(f, s, r)
    put_weights(f, s, r)
    return f, s, [r.randrange(3, N_VOCAB) for _ in range(r.choice((1, 2, 7, 33, 90)))]


# ---- the same in NumPy ------------------------------------------------------------------------------------------------------------------------------

def numpy_logits(f, s, ids):
    t = {name: x.astype(np.float64) for name, x in f.values.items()}
    norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(s.eps)) * w
    n, q, kv = len(ids), s.n_head * s.d_head, s.n_kv * s.d_head
    i = np.arange(s.n_rot // 2)
    angle = np.arange(n)[:, None] / s.scale * s.base ** (-2.0 * i / s.n_rot) / t.get('rope_freqs.weight', 1.0)
    cos, sin = (np.float32(s.magnitude) * f(angle)[:, None, :] for f in (np.cos, np.sin))

    def rotate(x):
        a, b = (x[..., 0:s.n_rot:2], x[..., 1:s.n_rot:2]) if s.arch == 'llama' else (x[..., :s.n_rot // 2], x[..., s.n_rot // 2:s.n_rot])
        y = x.copy()
        turned = a * cos - b * sin, b * cos + a * sin
        if s.arch == 'llama':
            y[..., 0:s.n_rot:2], y[..., 1:s.n_rot:2] = turned
        else:
            y[..., :s.n_rot // 2], y[..., s.n_rot // 2:s.n_rot] = turned
        return y

    h = t['token_embd.weight'][ids]
    for l in range(s.n_layer):
        w = lambda name: t.get(f'blk.{l}.{name}', 0.0)
        has = lambda name: f'blk.{l}.{name}' in t
        linear = lambda x, name: x @ w(name + '.weight').T + w(name + '.bias')
        a = norm(h, w('attn_norm.weight'))
        Q, K, V = np.split(linear(a, 'attn_qkv'), [q, q + kv], -1) if has('attn_qkv.weight') else (a @ w(f'attn_{x}.weight').T for x in 'qkv')
        Q, K, V = Q + w('attn_q.bias'), K + w('attn_k.bias'), V + w('attn_v.bias')
        Q, K, V = Q.reshape(n, s.n_head, -1), K.reshape(n, s.n_kv, -1), V.reshape(n, s.n_kv, -1)
        if s.arch == 'qwen3':
            Q, K = norm(Q, w('attn_q_norm.weight')), norm(K, w('attn_k_norm.weight'))
        Q, K = rotate(Q), rotate(K)
        K, V = (np.repeat(x, s.n_head // s.n_kv, 1) for x in (K, V))
        logits = np.einsum('qhd,khd->hqk', Q, K) / np.sqrt(s.d_head)
        logits[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        p = np.exp(logits - logits.max(-1, keepdims=True))
        att = np.einsum('hqk,khd->qhd', p / p.sum(-1, keepdims=True), V).reshape(n, -1)
        h = h + linear(att, 'attn_output')
        m = norm(h, w('ffn_norm.weight'))
        gate = linear(m, 'ffn_gate')
        h = h + linear(gate / (1 + np.exp(-gate)) * linear(m, 'ffn_up'), 'ffn_down')
    head = t.get('output.weight', t['token_embd.weight'])
    return norm(h[-1], t['output_norm.weight']) @ head.T + t.get('output.bias', 0.0)


# ---- the programs -----------------------------------------------------------------------------------------------------------------------------------

def build_peer(folder):
    source, libraries = peers.npm_libraries('libraries')
    link = [str(l) for l in libraries.glob('*.so') if l.name.startswith(('libllama.', 'libggml.', 'libggml-base'))]
    program = folder / 'sweep_peer'
    peers.run(['gcc', '-O1', str(HERE / 'sweep_peer.c'), '-o', str(program), f'-I{source}/include', f'-I{source}/ggml/include', *link, f'-Wl,-rpath,{libraries}'])
    return [str(program), str(libraries)]


def peer_logits(peer, path, ids):
    """Logits, or why not."""
    p = subprocess.run([*peer, str(path), *map(str, ids)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace')
    if p.returncode == 0:
        return np.array([float(x) for x in p.stdout.split()]), ''
    found = re.findall(r"error loading model: (.*)|(GGML_ASSERT\(.*)|what\(\): *(.*)", p.stderr)
    return None, (' '.join(''.join(x) for x in found) or p.stderr.strip()[-200:] or f'status {p.returncode}')


def our_logits(program, path, ids, folder):
    prompt, trace = folder / 'ids.json', folder / 'trace.json'
    prompt.write_text(json.dumps(ids))
    p = subprocess.run([program, 'run', '-m', str(path), '--prompt-ids', str(prompt), '-n', '1', '--temp', '0', '--exact', '--ignore-eos', '-t', '1', '--trace',
                        str(trace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace')
    if p.returncode == 0:
        logits = np.full(N_VOCAB, np.nan)
        for i, x in json.loads(trace.read_text())['logits_top']:
            logits[i] = x
        return logits, ''
    return None, (re.findall(r'error: (.*)', p.stderr) or [f'status {p.returncode}'])[-1]


def peer_drops_biases(f, s):
    """llama.cpp adds separate biases beside a fused weight only where all three are there (build_qkv() in llama-graph.cpp)."""
    there = [sum(f'blk.{l}.attn_{x}.bias' in f.tensors for x in 'qkv') for l in range(s.n_layer) if f'blk.{l}.attn_qkv.weight' in f.tensors]
    return any(n in (1, 2) for n in there)


def kind_of(reason):
    """A reason without names and numbers, to count by."""
    reason = re.sub(r"'[^']*'|\"[^\"]*\"|blk\.\d+\.\S+:?", '..', reason)
    return re.sub(r'[\s,]*\.\.[\s,.]*', ' .. ', re.sub('|'.join(ARCHS) + r'|-?\d+(\.\d+)?|\b[ui]\d+', '..', reason)).strip()[:110]


def check(number, args, peer, folder, refused, compared, largest):
    """None, or what is wrong."""
    f, s, ids = random_file(args.seed * 1_000_000 + number)
    path, floats = folder / f'{number}.gguf', folder / f'{number}.f32.gguf'
    f.write(path)
    f.write(floats, as_floats=True)
    ours, why_not = our_logits(args.program, path, ids, folder)
    theirs, their_reason = peer_logits(peer, floats, ids)
    wanted = numpy_logits(f, s, ids)
    if not args.keep:
        path.unlink(), floats.unlink()
    if args.verbose and theirs is None:
        print(f'file {number}, {s.arch}: {their_reason}: {", ".join(n for n in f.tensors if n.startswith("blk.0") or not n.startswith("blk"))}')
    if ours is None or theirs is None:
        refused[('' if ours is None else 'FastKV runs it'), kind_of(why_not), kind_of(their_reason) if theirs is None else 'llama.cpp runs it'] += 1
    if ours is None:
        return None if theirs is None or s.rope_kind == 'yarn' else f'only FastKV refuses: {why_not}'
    with_numpy = np.abs(ours - wanted).max()
    with_peer = np.abs(ours - theirs).max() if theirs is not None else 0
    between = np.abs(theirs - wanted).max() if theirs is not None else 0
    if theirs is not None and peer_drops_biases(f, s):
        refused['FastKV runs it, as NumPy', '', 'llama.cpp drops biases'] += 1
        with_peer = 0
    compared['llama.cpp and NumPy' if theirs is not None and with_peer else 'NumPy alone'] += 1
    largest['llama.cpp'], largest['NumPy'] = max(largest['llama.cpp'], with_peer), max(largest['NumPy'], with_numpy)
    if with_numpy <= TOLERANCE and with_peer <= TOLERANCE:
        return None
    return (f'{s.arch}, {s.n_layer} layers, {s.n_head}/{s.n_kv} heads of {s.d_head}, d {s.d_model}, ff {s.d_ff}, {s.type}, rope {s.rope_kind!r} {s.n_rot}: FastKV and '
            f'llama.cpp differ by {with_peer:.3g}, FastKV and NumPy by {with_numpy:.3g}, llama.cpp and NumPy by {between:.3g}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('program')
    p.add_argument('--files', type=int, default=500)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--only', type=int, help='the file of this number')
    p.add_argument('--keep', help='a folder where the files stay')
    p.add_argument('--verbose', action='store_true', help='what llama.cpp refuses, and why')
    args = p.parse_args()
    refused, compared, largest, wrong = collections.Counter(), collections.Counter(), collections.Counter(), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        peer = build_peer(pathlib.Path(temporary))
        for number in [args.only] if args.only is not None else range(args.files):
            problem = check(number, args, peer, folder, refused, compared, largest)
            if problem:
                wrong += 1
                print(f'file {number}: {problem}', flush=True)
    print(f'\n{wrong} of {args.files} files differ. Compared with {", ".join(f"{k}: {n}" for k, n in compared.items())}. Largest difference from '
          f'{", ".join(f"{k}: {x:.2g}" for k, x in largest.items())}. Refused by:')
    for (we, why, their), n in refused.most_common():
        print(f'{n:4}  FastKV: {why or we}\n      llama.cpp: {their}')
    return wrong > 0


if __name__ == '__main__':
    sys.exit(main())
