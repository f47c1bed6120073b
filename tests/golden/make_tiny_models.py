#!/usr/bin/env python3
"""Makes tests/golden/tiny_models: random small models of transformers as GGUF files, and what transformers makes of a prompt.

  pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0; tests/golden/make_tiny_models.py

Weights are random, of f16 values, and so large that a wrong step shows; embeddings are small, so that a wrong epsilon does. The model runs in float32
with eager attention. Per model a file NAME.gguf (F16, vectors F32) and a line of results.jsonl: model, ids, logits [position][vocabulary], greedy (24 ids
after the prompt).
"""
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parent / 'tiny_models'
VOCAB, CONTEXT, PROMPT, GREEDY = 64, 128, 45, 24
SHAPE = dict(vocab_size=VOCAB, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=CONTEXT,
             rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, attn_implementation='eager')
NAMES = {'self_attn.q_proj.weight': 'attn_q.weight', 'self_attn.k_proj.weight': 'attn_k.weight', 'self_attn.v_proj.weight': 'attn_v.weight',
         'self_attn.o_proj.weight': 'attn_output.weight', 'self_attn.q_norm.weight': 'attn_q_norm.weight', 'self_attn.k_norm.weight': 'attn_k_norm.weight',
         'input_layernorm.weight': 'attn_norm.weight', 'post_attention_layernorm.weight': 'ffn_norm.weight', 'mlp.gate.weight': 'ffn_gate_inp.weight',
         'mlp.gate_proj.weight': 'ffn_gate.weight', 'mlp.up_proj.weight': 'ffn_up.weight', 'mlp.down_proj.weight': 'ffn_down.weight',
         'mlp.experts.down_proj': 'ffn_down_exps.weight'}
GEMMA = {'post_attention_layernorm.weight': 'post_attention_norm.weight', 'pre_feedforward_layernorm.weight': 'ffn_norm.weight',
         'post_feedforward_layernorm.weight': 'post_ffw_norm.weight'}


def randomise(model, seed):
    r = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        x = torch.rand(p.shape, generator=r) * 2 - 1
        if p.dim() == 1:
            x = x * 0.5 + (0 if 'gemma' in model.config.model_type else 1)
        elif 'embed_tokens' in name:
            x = x * 0.02
        else:
            x = x * 2.2 / p.shape[-1] ** 0.5
        p.data = (x if p.dim() == 1 else x.half().float())


def permuted(w, heads):
    """Rows of q or k as files of llama hold them: the two halves of a head interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def tensors(model, arch):
    names = NAMES | (GEMMA if arch == 'gemma3' else {})
    for name, p in model.state_dict().items():
        x = p.numpy()
        if arch == 'gemma3' and x.ndim == 1:
            x = x + np.float32(1)
        if name == 'lm_head.weight':
            if not model.config.tie_word_embeddings:
                yield 'output.weight', x
        elif name == 'model.embed_tokens.weight':
            yield 'token_embd.weight', x
        elif name == 'model.norm.weight':
            yield 'output_norm.weight', x
        else:
            _, _, layer, rest = name.split('.', 3)
            if arch == 'llama' and rest in ('self_attn.q_proj.weight', 'self_attn.k_proj.weight'):
                x = permuted(x, SHAPE['num_attention_heads'] if 'q_proj' in rest else SHAPE['num_key_value_heads'])
            if rest == 'mlp.experts.gate_up_proj':
                yield f'blk.{layer}.ffn_gate_exps.weight', x[:, :x.shape[1] // 2]
                yield f'blk.{layer}.ffn_up_exps.weight', x[:, x.shape[1] // 2:]
            else:
                yield f'blk.{layer}.{names[rest]}', x


def write(path, model, arch, keys):
    w = gguf.GGUFWriter(path, arch)
    c = model.config
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    for key, value in keys.items():
        (w.add_float32 if isinstance(value, float) else w.add_uint32)(f'{arch}.{key}', value)
    w.add_tokenizer_model('llama')
    w.add_token_list(['<unk>', '<s>', '</s>'] + [chr(48 + i) for i in range(VOCAB - 3)])
    w.add_token_scores([-float(i) for i in range(VOCAB)])
    w.add_token_types([2, 3, 3] + [1] * (VOCAB - 3))
    for name, x in tensors(model, arch):
        exact = x.ndim == 1 or 'gate_inp' in name
        w.add_tensor(name, np.ascontiguousarray(x, np.float32 if exact else np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def results(model, ids):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
        greedy = list(ids)
        for _ in range(GREEDY):
            greedy.append(int(model(torch.tensor([greedy])).logits[0, -1].argmax()))
    return [[float(f'{x:.9g}') for x in row] for row in logits], greedy[len(ids):]


def models():
    t = transformers
    yield 'qwen3moe', 'qwen3moe', t.Qwen3MoeForCausalLM(t.Qwen3MoeConfig(
        **SHAPE, num_hidden_layers=3, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, moe_intermediate_size=32, intermediate_size=96,
        tie_word_embeddings=False, rope_parameters={'rope_type': 'default', 'rope_theta': 1e6})), {
            'rope.freq_base': 1e6, 'expert_count': 8, 'expert_used_count': 3, 'expert_feed_forward_length': 32}
    yield 'mixtral', 'llama', t.MixtralForCausalLM(t.MixtralConfig(
        **SHAPE, num_hidden_layers=2, num_local_experts=6, num_experts_per_tok=2, intermediate_size=64, sliding_window=None,
        tie_word_embeddings=False, rope_parameters={'rope_type': 'default', 'rope_theta': 1e4})), {
            'rope.freq_base': 1e4, 'expert_count': 6, 'expert_used_count': 2}
    yield 'gemma3', 'gemma3', t.Gemma3ForCausalLM(t.Gemma3TextConfig(
        **SHAPE, num_hidden_layers=6, intermediate_size=64, sliding_window=8, query_pre_attn_scalar=SHAPE['head_dim'],
        layer_types=['full_attention' if i % 3 == 2 else 'sliding_attention' for i in range(6)],
        rope_parameters={'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 1e6},
                         'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4}})), {
            'rope.freq_base': 1e6, 'rope.scaling.factor': 8.0, 'attention.sliding_window': 8, 'attention.sliding_window_pattern': 3}


def main():
    OUT.mkdir(exist_ok=True)
    with open(OUT / 'results.jsonl', 'w') as f:
        for seed, (name, arch, model, keys) in enumerate(models()):
            model.eval()
            randomise(model, seed)
            ids = np.random.default_rng(seed).integers(3, VOCAB, PROMPT).tolist()
            write(OUT / f'{name}.gguf', model, arch, keys)
            logits, greedy = results(model, ids)
            print(name, 'largest logit', max(max(map(abs, row)) for row in logits), greedy)
            f.write(json.dumps({'model': name, 'ids': ids, 'logits': logits, 'greedy': greedy}) + '\n')


if __name__ == '__main__':
    main()
