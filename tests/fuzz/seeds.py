#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets from the tests' data.   seeds.py FOLDER    one folder a target in it"""
import json
import pathlib
import struct
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
OUT = pathlib.Path(sys.argv[1])


def put(target, seeds):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(dict.fromkeys(seeds)):
        (folder / f'{i:05}').write_bytes(seed)


def lines(name):
    return [json.loads(line) for line in open(TESTS / 'golden' / name)]


put('template', [p.read_bytes() for p in sorted(TESTS.glob('golden/chat_templates/*.jinja'))] + [c['template'].encode() for c in lines('jinja_cases.jsonl') if 'template' in c])
# the first byte chooses vocabulary and flags
put('tokenizer', [bytes([i % 20]) + c['text'].encode()[:4096] for i, c in enumerate(lines('tokens.jsonl')) if 'text' in c])
files = [p.read_bytes() for p in sorted(TESTS.glob('data/*.gguf'))] + [struct.pack('<4sIQQ', b'GGUF', version, 0, 0) for version in (2, 3)]
put('gguf', files)
put('model', files)
