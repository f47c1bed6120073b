"""One measurement of OpenVINO GenAI; run by peers.py in its own environment. Arguments: MODEL THREADS PROMPT PREDICT SEED."""
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
ids = np.random.default_rng(seed).integers(1000, 41000, (1, n), dtype=np.int64)
inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
config = genai.GenerationConfig(max_new_tokens=predict + 1, min_new_tokens=predict + 1, do_sample=False, ignore_eos=True)
metrics = pipeline.generate(inputs, config).perf_metrics
print(json.dumps({'load_s': load, 'prefill': n / metrics.get_ttft().mean * 1000, 'decode': 1000 / metrics.get_tpot().mean if predict else 0}))
