#!/usr/bin/env python3
"""Makes tests/golden/tiny_models: random small models of transformers as GGUF files, and what transformers makes of a prompt.

  pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0; tests/golden/make_tiny_models.py

Weights are random, of f16 values, and so large that a wrong step shows; embeddings are small, so that a wrong epsilon does. The model runs in float32
with eager attention. Per model a file NAME.gguf (F16, vectors F32) and a line of results.jsonl: model, context (of the session), ids, logits
[position][vocabulary], greedy (24 ids after the prompt); two lines where two contexts differ (longrope).
"""
import itertools
import json
import pathlib
import types

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
         'mlp.experts.down_proj': 'ffn_down_exps.weight', 'self_attn.q_proj.bias': 'attn_q.bias', 'self_attn.k_proj.bias': 'attn_k.bias',
         'self_attn.v_proj.bias': 'attn_v.bias', 'self_attn.qkv_proj.weight': 'attn_qkv.weight', 'mlp.gate_up_proj.weight': 'ffn_up.weight'}
GEMMA = {'post_attention_layernorm.weight': 'post_attention_norm.weight', 'pre_feedforward_layernorm.weight': 'ffn_norm.weight',
         'post_feedforward_layernorm.weight': 'post_ffw_norm.weight'}


GPT_OSS = {'post_attention_layernorm.weight': 'post_attention_norm.weight', 'self_attn.o_proj.bias': 'attn_output.bias', 'self_attn.sinks': 'attn_sinks.weight',
           'mlp.router.weight': 'ffn_gate_inp.weight', 'mlp.router.bias': 'ffn_gate_inp.bias', 'mlp.experts.down_proj_bias': 'ffn_down_exps.bias'}
OTHER_NAMES = {'gemma3': GEMMA, 'gpt-oss': GPT_OSS}
PAIRS = ('llama', 'mistral3', 'granite', 'smollm3')  # channels 2i and 2i + 1 turn together in their files


class Text(torch.nn.Module):
    """The text half of a model that sees, with a head."""
    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config
        self.lm_head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)

    def forward(self, ids):
        return types.SimpleNamespace(logits=self.lm_head(self.model(ids).last_hidden_state))


def randomise(model, seed):
    r = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        x = torch.rand(p.shape, generator=r) * 2 - 1
        if p.dim() == 1:
            x = x * 0.5 + (0 if 'gemma' in model.config.model_type else 1)
        elif 'embed_tokens' in name:
            x = x * 0.02
        elif name.endswith('_bias'):
            x = x * 0.5
        else:
            x = x * 2.2 / p.shape[-1] ** 0.5
        p.data = (x if p.dim() == 1 else x.half().float())


def permuted(w, heads):
    """Rows of q or k as files of llama hold them: the two halves of a head interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def experts_of_gpt_oss(rest, x):
    """[expert][in][out] to [expert][out][in]; gate and up in turn to one after the other."""
    x = x if rest.endswith('bias') else x.swapaxes(1, 2)
    if 'gate_up' not in rest:
        yield 'ffn_down_exps' + ('.bias' if rest.endswith('bias') else '.weight'), x
        return
    for part, name in enumerate(('gate', 'up')):
        yield f'ffn_{name}_exps' + ('.bias' if rest.endswith('bias') else '.weight'), x[:, part::2]


def tensors(model, arch):
    names = NAMES | OTHER_NAMES.get(arch, {})
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
            if arch in PAIRS and rest in ('self_attn.q_proj.weight', 'self_attn.k_proj.weight'):
                x = permuted(x, SHAPE['num_attention_heads'] if 'q_proj' in rest else SHAPE['num_key_value_heads'])
            if arch == 'gpt-oss' and 'mlp.experts' in rest:
                for name, part in experts_of_gpt_oss(rest, x):
                    yield f'blk.{layer}.{name}', part
            elif rest == 'mlp.experts.gate_up_proj':
                yield f'blk.{layer}.ffn_gate_exps.weight', x[:, :x.shape[1] // 2]
                yield f'blk.{layer}.ffn_up_exps.weight', x[:, x.shape[1] // 2:]
            else:
                yield f'blk.{layer}.{names[rest]}', x


def write(path, model, arch, keys, factors=None):
    w = gguf.GGUFWriter(path, arch)
    c = model.config
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(SHAPE['head_dim'])
    w.add_value_length(SHAPE['head_dim'])
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    for key, value in keys.items():
        {float: w.add_float32, str: w.add_string, bool: w.add_bool, list: w.add_array, int: w.add_uint32}[type(value)](f'{arch}.{key}', value)
    for name, x in (factors or {}).items():
        w.add_tensor(f'rope_factors_{name}.weight', np.array(x, np.float32))
    w.add_tokenizer_model('llama')
    w.add_token_list(['<unk>', '<s>', '</s>'] + [chr(48 + i) for i in range(VOCAB - 3)])
    w.add_token_scores([-float(i) for i in range(VOCAB)])
    w.add_token_types([2, 3, 3] + [1] * (VOCAB - 3))
    for name, x in tensors(model, arch):
        exact = x.ndim == 1 or 'gate_inp' in name or name.endswith('bias')
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
    return [[float(f'{x:.7g}') for x in row] for row in logits], greedy[len(ids):]


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


def yarn(original, more=None):
    """A configuration's, and a file's keys."""
    config = {'rope_type': 'yarn', 'rope_theta': 1e4, 'factor': 4.0, 'original_max_position_embeddings': original, 'beta_fast': 32.0, 'beta_slow': 1.0}
    return config | (more or {}), {'rope.freq_base': 1e4, 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4.0,
                                   'rope.scaling.original_context_length': original, 'rope.scaling.yarn_beta_fast': 32.0, 'rope.scaling.yarn_beta_slow': 1.0}


def dense():
    t, shape = transformers, dict(**SHAPE, num_hidden_layers=2, intermediate_size=64, tie_word_embeddings=False)
    plain = {'rope_type': 'default', 'rope_theta': 1e4}
    config, keys = yarn(32)
    yield 'llama-yarn', 'llama', t.LlamaForCausalLM(t.LlamaConfig(**shape, rope_parameters=config)), keys
    config, keys = yarn(32, {'mscale': 1.0, 'mscale_all_dim': 1.0, 'llama_4_scaling_beta': 0.3})
    yield 'mistral3', 'mistral3', t.Ministral3ForCausalLM(t.Ministral3Config(**shape, sliding_window=None, rope_parameters=config)), keys | {
        'rope.scaling.yarn_log_multiplier': 1.0, 'attention.temperature_scale': 0.3}
    yield 'granite', 'granite', t.GraniteForCausalLM(t.GraniteConfig(
        **shape, rope_parameters=plain, embedding_multiplier=12.0, residual_multiplier=0.3, attention_multiplier=0.4, logits_scaling=6.0)), {
            'rope.freq_base': 1e4, 'embedding_scale': 12.0, 'residual_scale': 0.3, 'attention.scale': 0.4, 'logit_scale': 6.0}
    yield 'smollm3', 'smollm3', t.SmolLM3ForCausalLM(t.SmolLM3Config(
        **shape | dict(num_hidden_layers=5, tie_word_embeddings=True), rope_parameters=plain, pad_token_id=0, use_sliding_window=False)), {'rope.freq_base': 1e4}
    sections = {'rope.freq_base': 1e4, 'rope.dimension_sections': [2, 3, 3, 0]}
    multi = plain | {'mrope_section': [2, 3, 3]}
    yield 'qwen2vl', 'qwen2vl', Text(t.Qwen2_5_VLTextModel(t.Qwen2_5_VLTextConfig(**shape | dict(hidden_size=64), rope_parameters=multi))), sections
    yield 'qwen3vl', 'qwen3vl', Text(t.Qwen3VLTextModel(t.Qwen3VLTextConfig(**shape, rope_parameters=multi | {'mrope_interleaved': True}))), sections | {
        'n_deepstack_layers': 3}
    near, far = [1 + 0.1 * i for i in range(6)], [2 + 0.7 * i for i in range(6)]
    config = {'rope_type': 'longrope', 'rope_theta': 1e4, 'short_factor': near, 'long_factor': far, 'original_max_position_embeddings': 96,
              'partial_rotary_factor': 0.75}
    yield 'phi3', 'phi3', t.Phi3ForCausalLM(t.Phi3Config(
        **shape | dict(hidden_size=64), pad_token_id=0, original_max_position_embeddings=96, sliding_window=None, rope_parameters=config)), {
            'rope.freq_base': 1e4, 'rope.dimension_count': 12, 'rope.scaling.original_context_length': 96,
            'rope.scaling.attn_factor': float((1 + np.log(CONTEXT / 96) / np.log(96)) ** 0.5)}, {'short': near, 'long': far}
    yield 'phi3-window', 'phi3', t.Phi3ForCausalLM(t.Phi3Config(
        **shape, pad_token_id=0, sliding_window=12, rope_parameters=plain)), {'rope.freq_base': 1e4, 'attention.sliding_window': 12}


def with_experts():
    t, shape = transformers, dict(**SHAPE, num_hidden_layers=2, tie_word_embeddings=False)
    yield 'qwen3vlmoe', 'qwen3vlmoe', Text(t.Qwen3VLMoeTextModel(t.Qwen3VLMoeTextConfig(
        **shape, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, intermediate_size=64,
        rope_parameters={'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 3, 3], 'mrope_interleaved': True}))), {
            'rope.freq_base': 1e4, 'rope.dimension_sections': [2, 3, 3, 0], 'expert_count': 4, 'expert_used_count': 2, 'expert_feed_forward_length': 32}
    config, keys = yarn(64, {'truncate': False})
    yield 'gpt-oss', 'gpt-oss', t.GptOssForCausalLM(t.GptOssConfig(
        **shape | dict(num_hidden_layers=4), num_local_experts=4, num_experts_per_tok=2, intermediate_size=32, sliding_window=8, rope_parameters=config)), keys | {
            'attention.sliding_window': 8, 'expert_count': 4, 'expert_used_count': 2, 'expert_feed_forward_length': 32}


def main():
    OUT.mkdir(exist_ok=True)
    with open(OUT / 'results.jsonl', 'w') as f:
        for seed, (name, arch, model, keys, *factors) in enumerate(itertools.chain(models(), dense(), with_experts())):
            model.eval()
            randomise(model, seed)
            write(OUT / f'{name}.gguf', model, arch, keys, *factors)
            contexts = {96: PROMPT, CONTEXT: 100} if factors else {CONTEXT: PROMPT}  # short angles, and long ones
            for context, n in contexts.items():
                ids = np.random.default_rng(seed).integers(3, VOCAB, n).tolist()
                logits, greedy = results(model, ids)
                print(name, context, 'largest logit', max(max(map(abs, row)) for row in logits), greedy)
                f.write(json.dumps({'model': name, 'context': context, 'ids': ids, 'logits': logits, 'greedy': greedy}) + '\n')


if __name__ == '__main__':
    main()
