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
# of Ollama's converter, whose names the reader changes
for arch in (b'gptoss', b'gemma3', b'mistral3'):
    name = arch + b'.rope.scaling_beta'
    files.append(struct.pack('<4sIQQQ20sIQ', b'GGUF', 3, 0, 2, 20, b'general.architecture', 8, len(arch)) + arch + struct.pack('<Q', len(name)) + name +
                 struct.pack('<If', 6, 32))
put('gguf', files)
put('model', files)
user = {'role': 'user', 'content': 'Hi'}
# the first byte chooses the door: chat, completions, native, tokenize, detokenize, apply-template
bodies = [(0, {'messages': [user], 'max_tokens': 8, 'temperature': 0.5, 'top_p': 0.9, 'top_k': 3, 'min_p': 0.1, 'seed': 1, 'n': 2, 'stop': ['a', 'b'], 'stream': True}),
          (0, {'messages': [{'role': 'system', 'content': [{'type': 'text', 'text': 'a'}]}, user, {'role': 'assistant', 'content': 'Yes'}], 'logprobs': True, 'top_logprobs': 3,
               'logit_bias': {'5': 1, 'hello': -100}, 'stream_options': {'include_usage': True}, 'tools': [], 'response_format': {'type': 'text'}}),
          (0, {'messages': [user], 'kv_policy': 'snapkv', 'kv_retain': 0.5, 'tsp_layer': 1, 'kv_mode': 'agent', 'kv_map': True, 'chat_template_kwargs': {'a': 1}, 'reasoning_effort': 'none'}),
          (1, {'prompt': ['a', [1, 2]], 'logprobs': 2, 'max_tokens': 0, 'echo': False, 'best_of': 1, 'logit_bias': [[3, False], ['a', 2]]}),
          (1, {'prompt': [1, 'b', 3], 'presence_penalty': 1, 'frequency_penalty': -1, 'repeat_penalty': 1.1, 'repeat_last_n': -1}),
          (2, {'prompt': 'a', 'n_predict': -1, 'n_probs': 4, 'return_tokens': True, 'ignore_eos': True, 'cache_prompt': False, 't_max_predict_ms': 5}),
          (3, {'content': 'hello', 'with_pieces': True, 'add_special': True, 'parse_special': False}), (4, {'tokens': [1, 2, 300]}),
          (5, {'messages': [user], 'add_generation_prompt': False})]
put('request', [bytes([door]) + json.dumps(body).encode() for door, body in bodies])
put('session', [bytes([kind, 0, 1, 0, 0, 0, place, 255]) for kind in range(8) for place in (0, 8, 16, 72, 76, 96, 130)])
