"""One measurement of OpenVINO GenAI; run by peers.py in its own environment. Arguments: MODEL THREADS PROMPT PREDICT SEED.

The first prompt of a process prepares kernels and weights, so another of the same length goes before the one that counts; not where PREDICT is 1: the
time to a first token is the whole process's."""
import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai

model, threads, n, predict, seed = sys.argv[1], *map(int, sys.argv[2:6])
start = time.monotonic()
pipeline = genai.LLMPipeline(model, 'CPU', INFERENCE_NUM_THREADS=threads)
load = time.monotonic() - start
random = np.random.default_rng(seed)


def generate(new_tokens):
    ids = random.integers(1000, 41000, (1, n), dtype=np.int64)
    config = genai.GenerationConfig(max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, ignore_eos=True)
    return pipeline.generate(genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids))), config)


if predict > 1:
    generate(1)
metrics = generate(predict + 1).perf_metrics
print(json.dumps({'load_s': load, 'prefill': n / metrics.get_ttft().mean * 1000, 'decode': 1000 / metrics.get_tpot().mean if predict else 0}))
