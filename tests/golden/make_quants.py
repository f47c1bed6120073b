#!/usr/bin/env python3
"""The rows of quants.jsonl for the types whose values stand in tables: random and extreme blocks, and one row that has every entry of the
table, of which only the CRC-32 of the values' bytes is kept. Needs `gguf` 0.19.0 (PyPI).

make_quants.py > rows"""
import json
import zlib

import numpy as np
from gguf import GGMLQuantizationType, dequantize
from gguf.constants import GGML_QUANT_SIZES

TYPES = ['IQ3_S', 'IQ3_XXS', 'IQ2_S', 'IQ2_XS', 'IQ2_XXS', 'IQ1_M', 'IQ1_S', 'MXFP4']
# A scale, and for MXFP4 an exponent; None: random. The largest ones keep all values finite, except of MXFP4: 2^126 times 4 and more is not.
CASES = [('random', None, None), ('random', None, None), ('zero scale', 0.0, 0), ('negative scale', -0.37, 1),
         ('smallest subnormal scale', 2.0 ** -24, 127), ('largest scale', 65504.0, 250)]
rng = np.random.default_rng(18)


class Number(float):
    """Written with 9 significant digits."""

    def __repr__(self):
        return '%.9g' % self


def set_scale(name, block, scale, exponent):
    bits = int(np.float16(rng.normal() * 0.02 if scale is None else scale).view(np.uint16))
    if name == 'MXFP4':
        block[0] = rng.integers(110, 130) if exponent is None else exponent
    elif name == 'IQ1_M':  # a nibble on top of each of the last four words
        words = block[48:].view(np.uint16)
        words[:] = (words & 0x0fff) | ((bits >> np.array([0, 4, 8, 12])) << 12).astype(np.uint16)
    else:
        block[:2] = np.array([bits], np.uint16).view(np.uint8)


def every_entry(name, size):
    """Blocks of scale 1 with each entry of the type's table, and all signs' bytes; random else."""
    entries = {'IQ3_S': 512, 'IQ3_XXS': 256, 'IQ2_S': 1024, 'IQ2_XS': 512, 'IQ2_XXS': 256, 'IQ1_M': 2048, 'IQ1_S': 2048, 'MXFP4': 256}[name]
    of_block = {'IQ3_S': 64, 'IQ3_XXS': 64, 'MXFP4': 1}.get(name, 32)
    e = np.arange(entries).reshape(-1, of_block)
    blocks = rng.integers(0, 256, (len(e), size), dtype=np.uint8)
    low, high = (e & 255).astype(np.uint8), e >> 8
    for block in blocks:
        set_scale(name, block, 1.0, 0)
    if name == 'MXFP4':  # every exponent
        blocks[:, 0] = e[:, 0]
    if name == 'IQ3_S':
        blocks[:, 2:66] = low
        blocks[:, 66:74] = np.packbits(high.reshape(len(e), 8, 8).astype(np.uint8), axis=-1, bitorder='little')[..., 0]
    if name == 'IQ3_XXS':
        blocks[:, 2:66] = low
    if name == 'IQ2_S':
        blocks[:, 2:34] = low
        blocks[:, 66:74] = (high.reshape(-1, 8, 4) << np.array([0, 2, 4, 6])).sum(-1)
    if name == 'IQ2_XS':
        words = blocks[:, 2:66].copy().view(np.uint16) & 0xfe00 | e.astype(np.uint16)
        blocks[:, 2:66] = words.view(np.uint8)
    if name == 'IQ2_XXS':
        blocks[:, 2:66].reshape(-1, 8, 8)[..., :4] = low.reshape(-1, 8, 4)
    if name == 'IQ1_S':
        blocks[:, 2:34] = low
        words = blocks[:, 34:50].copy().view(np.uint16) & 0xf000
        words |= (high.reshape(-1, 8, 4) << np.array([0, 3, 6, 9])).sum(-1).astype(np.uint16)
        blocks[:, 34:50] = words.view(np.uint8)
    if name == 'IQ1_M':
        blocks[:, :32] = low
        blocks[:, 32:48] = blocks[:, 32:48] & 0x88 | (high.reshape(-1, 16, 2) << np.array([0, 4])).sum(-1).astype(np.uint8)
    return blocks.reshape(-1)


def write(name, case, raw, keep_values=True):
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    with np.errstate(over='ignore'):
        values = np.asarray(dequantize(raw.reshape(1, -1), kind), dtype=np.float32).reshape(-1)
    row = {'type': name, 'type_id': int(kind), 'block_elements': elements, 'block_bytes': size, 'case': case, 'raw_hex': raw.tobytes().hex()}
    if keep_values:
        assert np.isfinite(values).all()
        print(json.dumps(row, separators=(',', ':'))[:-1] + ',"values":[' + ','.join(repr(Number(v)) for v in values) + ']}')
    else:
        print(json.dumps(row | {'crc32': zlib.crc32(values.astype('<f4').tobytes())}, separators=(',', ':')))


for name in TYPES:
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    for case, scale, exponent in CASES:
        raw = rng.integers(0, 256, size, dtype=np.uint8)
        set_scale(name, raw, scale, exponent)
        write(name, case, raw)
    for case, byte in (('all bits clear', 0), ('all bits set', 255)):
        raw = np.full(size, byte, np.uint8)
        set_scale(name, raw, 1.0, 127)
        write(name, case, raw)
    write(name, 'every entry', every_entry(name, size), keep_values=False)
