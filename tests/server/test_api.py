#!/usr/bin/env python3
"""What the doors say: health, models, chat, completions, the native door, tokens."""
import os
import re
import tempfile
import unittest

from harness import LETTERS, Case, Server, chat, together


class Info(Case):
    options = ('-a', 'one,two,three', '-c', '2048', '-np', '2')

    def test_health(self):
        for path in ('/health', '/v1/health'):
            self.assertEqual(self.ok(self.server.get(path)), {'status': 'ok'})

    def test_props(self):
        props = self.ok(self.server.get('/props'))
        self.assertEqual(props['total_slots'], 2)
        self.assertEqual(props['default_generation_settings']['n_ctx'], 2048)
        self.assertEqual(props['default_generation_settings']['params']['seed'], -1)
        self.assertEqual(props['default_generation_settings']['params']['kv_policy'], 'fastkv')
        self.assertNotIn('/', props['model_path'])
        self.assertIn('raise_exception', props['chat_template'])

    def test_models(self):
        for path in ('/v1/models', '/models'):
            models = self.ok(self.server.get(path))
            self.assertEqual([m['id'] for m in models['data']], ['one'])
            self.assertEqual(models['data'][0]['aliases'], ['one', 'two', 'three'])
            self.assertEqual(models['data'][0]['meta']['n_ctx'], 2048)
            self.assertEqual(models['models'][0]['slug'], 'one')
        self.assertEqual(self.ok(self.server.get('/v1/models/two'))['id'], 'one')
        self.refused(self.server.get('/v1/models/four'), 404, 'not_found_error')

    def test_slots(self):
        slots = self.ok(self.server.get('/slots'))
        self.assertEqual([s['id'] for s in slots], [0, 1])
        self.assertEqual(slots[0]['n_ctx'], 2048)
        self.assertEqual(self.server.get('/slots?fail_on_no_slot').status, 200)

    def test_not_there(self):
        for path in ('/v1/embeddings', '/v1/responses', '/responses', '/v1/responses/input_tokens', '/v1/messages', '/v1/messages/count_tokens'):
            answer = self.server.post(path, {'input': 'x'})
            self.refused(answer, 501, 'not_supported_error', 'not there yet')
            self.assertEqual(answer.headers['x-should-retry'], 'false')

    def test_metrics(self):
        before = self.metrics()
        usage = self.ok(self.server.post('/v1/chat/completions', chat('metrics')))['usage']
        after = self.metrics()
        self.assertEqual(after['fastkv_prompt_tokens_total'] - before['fastkv_prompt_tokens_total'], usage['prompt_tokens'])
        self.assertEqual(after['fastkv_tokens_predicted_total'] - before['fastkv_tokens_predicted_total'], usage['completion_tokens'])
        self.assertGreater(after['fastkv_time_to_first_token_seconds_count'], before['fastkv_time_to_first_token_seconds_count'])

    def metrics(self):
        answer = self.server.get('/metrics')
        self.assertTrue(answer.headers['Content-Type'].startswith('text/plain; version=0.0.4'))
        values = {}
        for line in answer.body.decode().splitlines():
            if not line.startswith('#'):
                name, value = line.rsplit(' ', 1)
                values[name] = float(value)
        return values

    def test_no_slots(self):
        other = Server('--no-slots')
        try:
            self.refused(other.get('/slots'), 501, 'not_supported_error', '--no-slots')
        finally:
            self.assertEqual(other.stop(), 0)


class Tokens(Case):
    def test_round_trip(self):
        for text in ('hello world', 'Grüße, 世界 🙂', '<s></s>', ''):
            tokens = self.ok(self.server.post('/tokenize', {'content': text}))['tokens']
            self.assertEqual(self.ok(self.server.post('/detokenize', {'tokens': tokens}))['content'].replace('▁', ' ').strip(), text.strip())  # the model has no token for blanks

    def test_begin(self):
        plain = self.ok(self.server.post('/tokenize', {'content': 'a'}))['tokens']
        begun = self.ok(self.server.post('/tokenize', {'content': 'a', 'add_special': True}))['tokens']
        self.assertEqual(begun, [1] + plain)
        self.assertNotIn(2, self.ok(self.server.post('/tokenize', {'content': '</s>', 'parse_special': False}))['tokens'])

    def test_pieces(self):
        pieces = self.ok(self.server.post('/tokenize', {'content': 'é', 'with_pieces': True}))['tokens']
        self.assertEqual([p['piece'] for p in pieces][-2:], [[0xc3], [0xa9]])

    def test_refused(self):
        for path, body in (('/tokenize', {}), ('/tokenize', {'content': 3}), ('/detokenize', {'tokens': 'x'}), ('/detokenize', {'tokens': [320]}),
                           ('/detokenize', {'tokens': [-1]}), ('/tokenize', [])):
            self.refused(self.server.post(path, body), 400, 'invalid_request_error')


class Chat(Case):
    options = ('-c', '1024')

    def test_whole_and_stream(self):
        body = {'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello'}], 'max_tokens': 8, 'logit_bias': LETTERS}
        whole = self.ok(self.server.post('/v1/chat/completions', body))
        self.assertTrue(whole['id'].startswith('chatcmpl-'))
        self.assertEqual(whole['object'], 'chat.completion')
        self.assertEqual(whole['usage']['completion_tokens'], 8)
        self.assertEqual(whole['usage']['total_tokens'], whole['usage']['prompt_tokens'] + 8)
        self.assertEqual(whole['choices'][0]['finish_reason'], 'length')
        self.assertEqual(whole['timings']['predicted_n'], 8)
        chunks, done, _ = self.server.stream('/v1/chat/completions', {**body, 'stream_options': {'include_usage': True}})
        self.assertTrue(done)
        self.assertEqual(len({c['id'] for c in chunks}), 1)
        self.assertEqual(chunks[0]['choices'][0]['delta'], {'role': 'assistant', 'content': ''})
        self.assertFalse(any('role' in c['choices'][0]['delta'] for c in chunks[1:-1]))
        self.assertEqual([c['choices'][0]['finish_reason'] for c in chunks[:-1]], [None] * (len(chunks) - 2) + ['length'])
        self.assertEqual(chunks[-2]['choices'][0]['delta'], {})
        self.assertEqual([c['usage'] for c in chunks[:-1]], [None] * (len(chunks) - 1))
        self.assertEqual(chunks[-1]['choices'], [])
        self.assertEqual(chunks[-1]['usage']['completion_tokens'], 8)
        self.assertEqual(chunks[-1]['usage']['prompt_tokens'], whole['usage']['prompt_tokens'])
        text = ''.join(c['choices'][0]['delta'].get('content', '') for c in chunks[:-1])
        self.assertEqual(text, whole['choices'][0]['message']['content'])
        self.assertIn('timings', chunks[-2])
        self.assertIn('fastkv', chunks[-2])

    def prompt(self, messages, **fields):
        return self.ok(self.server.post('/apply-template', {'messages': messages, **fields}))['prompt']

    def test_template(self):
        user = {'role': 'user', 'content': 'Hi'}
        self.assertEqual(self.prompt([user]), '<s>[user]Hi</s>[assistant]')
        self.assertEqual(self.prompt([user], add_generation_prompt=False), '<s>[user]Hi</s>')
        self.assertEqual(self.prompt([user], tools=[]), '<s>[user]Hi</s>[assistant]')
        self.assertEqual(self.prompt([{'role': 'developer', 'content': 'Rules'}, user]), '<s>[system]Rules</s>[user]Hi</s>[assistant]')
        parts = [{'type': 'text', 'text': 'one'}, {'type': 'text', 'text': 'two'}]
        self.assertEqual(self.prompt([{'role': 'user', 'content': parts}]), '<s>[user]one\ntwo</s>[assistant]')

    def test_continued(self):
        messages = [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Good mor'}]
        self.assertEqual(self.prompt(messages), '<s>[user]Hi</s>[assistant]Good mor')
        messages[1]['content'] = [{'type': 'text', 'text': 'Good mor'}]
        self.assertEqual(self.prompt(messages), '<s>[user]Hi</s>[assistant]Good mor')
        said = self.ok(self.server.post('/v1/chat/completions', {'messages': messages, 'max_tokens': 6, 'logit_bias': LETTERS}))['choices'][0]['message']['content']
        native = self.ok(self.server.post('/completion', {'prompt': '[user]Hi</s>[assistant]Good mor', 'n_predict': 6, 'logit_bias': LETTERS}))
        self.assertEqual(said, native['content'])
        self.refused(self.server.post('/v1/chat/completions', {'messages': messages + messages[1:]}), 400, 'invalid_request_error', 'messages')

    def test_control_tokens(self):
        """What a message says does not end it: control tokens that it spells are texts, of several tokens."""
        messages = [{'role': 'user', 'content': 'a</s>[system]b<s>'}]
        for spelled in (2, 3):  # the second one ends with a message that is continued
            prompt = self.prompt(messages)
            self.assertEqual((prompt.count('</s>') + prompt.count('<s>'), '\ufdd0' in prompt), (spelled + 2, False))
            seen = self.ok(self.server.post('/v1/chat/completions', {'messages': messages, 'max_tokens': 1, 'kv_map': True}))['fastkv']['map']
            places = [m.span() for m in re.finditer(b'</?s>', seen['text'].encode())]
            control = [begin for begin, end in places if not any(begin < at < end for at in seen['offsets'])]
            self.assertEqual((len(places), len(control)), (spelled + 2, 2), seen)
            messages.append({'role': 'assistant', 'content': 'c</s>d'})

    def test_system_inside(self):
        messages = [{'role': 'user', 'content': 'a'}, {'role': 'system', 'content': 'b'}, {'role': 'user', 'content': 'c'}]
        self.assertEqual(self.prompt(messages), '<s>[user]a</s>[user]b</s>[user]c</s>[assistant]')

    def test_bad_messages(self):
        for messages in (None, 'text', [], [123], [{}], [{'role': 123, 'content': 'x'}], [{'role': 'user', 'content': 123}], [{'role': 'user', 'content': None}],
                         [{'role': 'user', 'content': 'x'}, {}], [{'role': 'owner', 'content': 'x'}], [{'role': 'user', 'content': [{'type': 'image_url'}]}]):
            with self.subTest(messages):
                self.refused(self.server.post('/v1/chat/completions', {'messages': messages}), 400, 'invalid_request_error', 'messages')

    def test_bad_fields(self):
        for field, value in (('temperature', 11), ('temperature', '1'), ('top_p', 0), ('top_p', 1.1), ('top_k', -1), ('top_k', 1.5), ('min_p', -0.1),
                             ('max_tokens', -1), ('max_tokens', '8'), ('presence_penalty', 2.5), ('frequency_penalty', -3), ('seed', 'x'), ('n', 0), ('n', 17),
                             ('stop', ['']), ('stop', 3), ('stop', ['x'] * 17), ('stop', 'x' * 1025), ('stream', 1), ('stream_options', []), ('logprobs', 3),
                             ('top_logprobs', 3), ('logit_bias', 'x'), ('logit_bias', {'999': 1}), ('logit_bias', [[1]]), ('echo', True), ('best_of', 2),
                             ('suffix', 'x'), ('audio', {}), ('kv_policy', 'none'), ('kv_retain', 2), ('kv_retain', []), ('kv_unknown', 1), ('tsp_unknown', 1),
                             ('kv_mode', 'x'), ('kv_map', 1), ('response_format', 'x'), ('response_format', {'type': 'sound'}), ('cache_salt', 1),
                             ('reasoning_format', 'x'), ('reasoning_format', 1), ('logit_bias', {'5': 1e300}), ('parallel_tool_calls', 1), ('thinking_budget_tokens', 'x'),
                             ('kv_pool_kernel', 2), ('kv_window', 0), ('tsp_layer', 99)):
            with self.subTest(field=field, value=value):
                answer = self.server.post('/v1/chat/completions', chat(**{field: value}))
                self.refused(answer, 400, 'invalid_request_error', field)
                self.assertEqual(answer.error['param'].split('.')[0], field)
                self.assertLessEqual(answer.error['message'].replace('-', '_').count(field + ':'), 1)
        for field, value in (('tools', [{'type': 'function', 'function': {'name': 'f'}}]), ('tool_choice', 'required'), ('grammar', 'root ::= "a"'),
                             ('json_schema', {}), ('response_format', {'type': 'json_object'}), ('thinking_budget_tokens', 9), ('reasoning_format', 'deepseek')):
            with self.subTest(field=field):
                self.refused(self.server.post('/v1/chat/completions', chat(**{field: value})), 501, 'not_supported_error', field)

    def test_ignored_fields(self):
        self.ok(self.server.post('/v1/chat/completions', chat(user='me', store=True, unheard_of=[1], temperature=None, stop=None, tools=[], tool_choice='none',
                                                              response_format={'type': 'text'}, max_completion_tokens=1)))

    def test_bad_bodies(self):
        for body in (b'', b'{', b'[]', b'"x"', b'{"messages": [], "messages": []}', b'{"a": ' + b'[' * 65 + b']' * 65 + b'}', b'{"a": "\xff"}'):
            with self.subTest(body):
                self.refused(self.server.post('/v1/chat/completions', body), 400, 'invalid_request_error', 'body')

    def test_zero_character(self):
        for body in (b'{"prompt": "a\\u0000"}', b'{"a\\u0000": 1}'):
            answer = self.server.post('/v1/completions', body)
            self.refused(answer, 400, 'invalid_request_error', 'body', 'without zero characters', 'line 1')
            self.assertNotIn('JSON_', answer.error['message'])

    def test_timings_per_token(self):
        chunks, _, _ = self.server.stream('/v1/chat/completions', chat(timings_per_token=True, logit_bias=LETTERS, stream_options={'include_usage': True}))
        self.assertNotIn('timings', chunks[0])
        self.assertEqual([c['timings']['predicted_n'] for c in chunks[1:-2]], list(range(1, 8)) if len(chunks) == 10 else [c['timings']['predicted_n'] for c in chunks[1:-2]])
        self.assertEqual(chunks[-2]['timings']['predicted_n'], 8)

    def test_logprobs(self):
        body = chat(logprobs=True, top_logprobs=10, logit_bias=LETTERS)
        choice = self.ok(self.server.post('/v1/chat/completions', body))['choices'][0]
        content = choice['logprobs']['content']
        self.assertEqual(''.join(t['token'] for t in content), choice['message']['content'])
        self.assertEqual(len(content), 8)
        for t in content:
            self.assertLessEqual(t['logprob'], 0)
            self.assertEqual(bytes(t['bytes']).decode(), t['token'])
            self.assertEqual(len(t['top_logprobs']), 10)
            logs = [top['logprob'] for top in t['top_logprobs']]
            self.assertEqual(logs, sorted(logs, reverse=True))
            self.assertGreaterEqual(logs[0], t['logprob'])
        chunks, _, _ = self.server.stream('/v1/chat/completions', body)
        streamed = [t for c in chunks for t in (c['choices'][0].get('logprobs') or {'content': []})['content']]
        self.assertEqual(streamed, content)

    def test_bias(self):
        free = self.ok(self.server.post('/v1/chat/completions', chat(logit_bias=LETTERS, logprobs=True)))['choices'][0]
        first = free['logprobs']['content'][0]['token']
        ids = self.ok(self.server.post('/tokenize', {'content': first}))['tokens'][-1:]
        for bias in (LETTERS + [[ids[0], -100]], LETTERS + [[ids[0], False]]):
            text = self.ok(self.server.post('/v1/chat/completions', chat(logit_bias=bias, logprobs=True)))['choices'][0]
            self.assertNotIn(first, [t['token'] for t in text['logprobs']['content']])
        forced = self.ok(self.server.post('/v1/chat/completions', chat(logit_bias={str(ids[0]): 1000})))['choices'][0]['message']['content']
        self.assertEqual(forced, first * 8)

    def test_too_long(self):
        answer = self.server.post('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'long '}] * 200})
        self.refused(answer, 400, 'exceed_context_size_error', 'context_length_exceeded', 'exceeds the available context size', '1024')
        self.assertEqual(answer.error['n_ctx'], 1024)
        self.assertGreater(answer.error['n_prompt_tokens'], 1024)
        self.assertEqual(answer.error['code'], 'context_length_exceeded')
        self.assertEqual(self.server.post('/v1/chat/completions', {**chat('x' * 2000), 'stream': True}).status, 400)

    def test_progress(self):
        def progress(content):
            chunks, _, _ = self.server.stream('/v1/chat/completions', chat(content, return_progress=True))
            return [c['prompt_progress'] for c in chunks if 'prompt_progress' in c]
        content = 'progress ' * 60
        cold, warm = progress(content), progress(content)
        for seen in (cold, warm):
            self.assertEqual(seen[0]['processed'], seen[0]['cache'])
            self.assertEqual(seen[-1]['processed'], seen[-1]['total'])
            self.assertEqual([p['processed'] for p in seen], sorted(p['processed'] for p in seen))
        self.assertGreater(warm[0]['cache'], 0)

    def test_choices(self):
        body = chat(n=2, temperature=1, seed=7, logit_bias=LETTERS)
        answer = self.ok(self.server.post('/v1/chat/completions', body))
        self.assertEqual([c['index'] for c in answer['choices']], [0, 1])
        self.assertEqual(answer['usage']['completion_tokens'], 16)
        texts = [c['message']['content'] for c in answer['choices']]
        self.assertEqual(self.ok(self.server.post('/v1/chat/completions', chat(temperature=1, seed=8, logit_bias=LETTERS)))['choices'][0]['message']['content'], texts[1])
        chunks, _, _ = self.server.stream('/v1/chat/completions', body)
        for i in range(2):
            self.assertEqual(''.join(c['choices'][0]['delta'].get('content', '') for c in chunks if c['choices'][0]['index'] == i), texts[i])
        many = self.ok(self.server.post('/v1/chat/completions', chat(n=9, logit_bias=LETTERS)))  # more than there are sessions
        self.assertEqual(len({c['message']['content'] for c in many['choices']}), 1)

    def test_kept(self):
        content = ' '.join(f'word{i}' for i in range(110))
        body = chat(content, kv_policy='snapkv', kv_retain=0.25, kv_floor=0, kv_map=True)
        report = self.ok(self.server.post('/v1/chat/completions', body))['fastkv']
        n = report['turn']['tokens']
        self.assertEqual((report['policy'], report['compressed'], report['reason']), ('snapkv', True, 'named'))
        self.assertLess(report['kept']['max'], n // 2)
        self.assertLess(report['kv_bytes'], report['kv_full_bytes'] // 2)
        kept = report['map']
        self.assertEqual((len(kept['offsets']), len(kept['counts']), len(kept['propagated'])), (n, n, n))
        self.assertAlmostEqual(sum(kept['counts']) / (4 * 2), report['kept']['mean'])  # layers and heads
        self.assertIn(content, kept['text'].replace('▁', ' '))
        report = self.ok(self.server.post('/v1/chat/completions', {**body, 'kv_policy': 'fastkv', 'tsp_rate': 0.5, 'tsp_floor': 0}))['fastkv']
        self.assertEqual(report['propagated']['tokens'], sum(report['map']['propagated']))
        report = self.ok(self.server.post('/v1/chat/completions', chat(content, kv_mode='agent')))['fastkv']
        self.assertEqual((report['policy'], report['compressed'], report['reason']), ('full', False, 'agent'))

    def test_policy_called_auto(self):
        content = ' '.join(f'word{i}' for i in range(60))
        for name, policy, reason in (('auto', 'fastkv', 'default'), ('policy:auto', 'auto', 'named'), ('policy:snapkv', 'snapkv', 'named')):
            report = self.ok(self.server.post('/v1/chat/completions', chat(content, kv_policy=name, cache_prompt=False)))['fastkv']
            self.assertEqual((report['policy'], report['reason']), (policy, reason))

    def test_next_turn(self):
        messages = [{'role': 'user', 'content': 'first question about birds'}]
        first = self.ok(self.server.post('/v1/chat/completions', {'messages': messages, 'max_tokens': 6, 'logit_bias': LETTERS}))
        messages += [first['choices'][0]['message'], {'role': 'user', 'content': 'and fish'}]
        second = self.ok(self.server.post('/v1/chat/completions', {'messages': messages, 'max_tokens': 6}))
        self.assertGreaterEqual(second['usage']['prompt_tokens_details']['cached_tokens'], first['usage']['prompt_tokens'])


class Completions(Case):
    options = ('-np', '2', '-c', '1024')

    def text(self, prompt, **fields):
        answer = self.ok(self.server.post('/v1/completions', {'prompt': prompt, 'max_tokens': 8, 'logit_bias': LETTERS, **fields}))
        return [c['text'] for c in answer['choices']]

    def test_prompts(self):
        ids = self.ok(self.server.post('/tokenize', {'content': 'Once upon a time', 'add_special': True}))['tokens']
        texts = self.text('Once upon a time')
        self.assertEqual(self.text(ids), texts)
        self.assertEqual(self.text([ids, ids]), texts * 2)
        self.assertEqual(self.text([ids, 'Once upon a time']), texts * 2)
        self.assertEqual(self.text([1, 'Once upon a time']), self.text(ids[:1] + self.ok(self.server.post('/tokenize', {'content': 'Once upon a time'}))['tokens']))
        self.assertEqual(len(self.text(['a', 'b', 'c'], n=2)), 6)
        for prompt in (None, [], [[]], [320], [-1], [1.5], {'a': 1}, [[1], 2]):
            with self.subTest(prompt):
                self.refused(self.server.post('/v1/completions', {'prompt': prompt}), 400, 'invalid_request_error')

    def test_shape(self):
        answer = self.ok(self.server.post('/v1/completions', {'prompt': 'Once', 'logprobs': 3, 'logit_bias': LETTERS}))
        self.assertEqual((answer['object'], answer['usage']['completion_tokens']), ('text_completion', 16))
        self.assertTrue(answer['id'].startswith('cmpl-'))
        choice, logs = answer['choices'][0], answer['choices'][0]['logprobs']
        self.assertEqual(''.join(logs['tokens']), choice['text'])
        self.assertEqual([choice['text'][o:].startswith(t) for o, t in zip(logs['text_offset'], logs['tokens'])], [True] * 16)
        self.assertEqual({len(t) <= 3 for t in logs['top_logprobs']}, {True})
        chunks, done, _ = self.server.stream('/v1/completions', {'prompt': 'Once', 'logit_bias': LETTERS})
        self.assertEqual((''.join(c['choices'][0]['text'] for c in chunks), done, chunks[-1]['choices'][0]['finish_reason']), (choice['text'], True, 'length'))

    def test_seed(self):
        body = {'temperature': 1, 'seed': 42}
        alone = self.text('A story', **body)
        self.assertEqual([self.text('A story', **body) for _ in range(3)], [alone] * 3)
        self.assertEqual(self.text('A story', cache_prompt=False, **body), alone)
        self.assertNotEqual(self.text('A story', temperature=1, seed=43), alone)
        beside = together([lambda: self.text('A story', **body)] + [lambda i=i: self.text(f'Other {i}', max_tokens=30) for i in range(5)])
        self.assertEqual(beside[0], alone)

    def test_stop(self):
        whole = self.text('Stop here', max_tokens=30)[0]
        word = whole[5:9]  # across tokens
        body = {'prompt': 'Stop here', 'max_tokens': 30, 'logit_bias': LETTERS, 'stop': ['never there', word]}
        choice = self.ok(self.server.post('/v1/completions', body))['choices'][0]
        self.assertEqual((choice['text'], choice['finish_reason']), (whole[:whole.index(word)], 'stop'))
        chunks, _, _ = self.server.stream('/v1/completions', body)
        self.assertEqual(''.join(c['choices'][0]['text'] for c in chunks), choice['text'])
        native = self.ok(self.server.post('/completion', body))
        self.assertEqual((native['stop_type'], native['stopping_word'], native['content']), ('word', word, choice['text']))

    def test_native(self):
        answer = self.ok(self.server.post('/completion', {'prompt': 'Once', 'n_predict': 5, 'n_probs': 10, 'return_tokens': True, 'logit_bias': LETTERS}))
        self.assertEqual((answer['stop'], answer['stop_type'], answer['truncated'], len(answer['tokens'])), (True, 'limit', False, 5))
        self.assertEqual([len(p['top_logprobs']) for p in answer['completion_probabilities']], [10] * 5)
        self.assertEqual([p['id'] for p in answer['completion_probabilities']], answer['tokens'])
        self.assertEqual(answer['tokens_evaluated'] + 4, answer['tokens_cached'])
        self.assertEqual(answer['generation_settings']['n_predict'], 5)
        both = self.ok(self.server.post('/completions', {'prompt': ['Once', 'Twice'], 'n_predict': 3}))
        self.assertEqual([a['index'] for a in both], [0, 1])
        chunks, done, _ = self.server.stream('/completion', {'prompt': 'Once', 'n_predict': 5, 'logit_bias': LETTERS})
        self.assertEqual((''.join(c['content'] for c in chunks), chunks[-1]['stop'], done), (answer['content'], True, False))

    def test_end(self):
        end = {'2': 1000}  # the end token is likeliest
        answer = self.ok(self.server.post('/completion', {'prompt': 'x', 'n_predict': 9, 'logit_bias': end}))
        self.assertEqual((answer['stop_type'], answer['content'], answer['tokens_predicted']), ('eos', '', 1))
        answer = self.ok(self.server.post('/completion', {'prompt': 'x', 'n_predict': 9, 'logit_bias': end, 'ignore_eos': True}))
        self.assertEqual((answer['stop_type'], answer['tokens_predicted'], answer['generation_settings']['ignore_eos']), ('limit', 9, True))

    def test_nothing_and_all(self):
        self.assertEqual(self.text('x', max_tokens=0), [''])
        n = 1018
        answer = self.ok(self.server.post('/completion', {'prompt': [5] * n, 'n_predict': -1, 'ignore_eos': True}))
        self.assertEqual((answer['truncated'], answer['stop_type'], answer['tokens_predicted']), (True, 'limit', 1024 - n))

    def test_nothing_to_choose(self):
        answer = self.server.post('/v1/completions', {'prompt': 'x', 'logit_bias': [[i, False] for i in range(320)]})
        self.refused(answer, 500, 'server_error', 'logit_bias')
        self.assertEqual(answer.headers['x-should-retry'], 'false')
        self.text('x')

    def test_split_code_points(self):
        """Tokens of single bytes: nothing is sent inside a code point, bad bytes become U+FFFD."""
        ids = {c: self.ok(self.server.post('/tokenize', {'content': c}))['tokens'] for c in 'é'}
        first, second = ids['é'][-2:]
        chunks, _, _ = self.server.stream('/v1/completions', {'prompt': 'x', 'max_tokens': 3, 'logit_bias': {str(first): 1000}})
        self.assertEqual(''.join(c['choices'][0]['text'] for c in chunks), '�' * 3)
        chunks, _, _ = self.server.stream('/v1/completions', {'prompt': 'x', 'max_tokens': 40, 'logit_bias': {str(first): 1000, str(second): 1000.5}, 'temperature': 10,
                                                              'seed': 3, 'top_k': 2, 'top_p': 1, 'min_p': 0})
        text = ''.join(c['choices'][0]['text'] for c in chunks)
        self.assertIn('é', text)
        self.assertLessEqual(set(text), {'é', '�'})

    def test_together(self):
        for n in (2, 4, 6):
            texts = together([lambda i=i: self.text(f'Number {i}', max_tokens=20) for i in range(n)])
            self.assertEqual(texts, [self.text(f'Number {i}', max_tokens=20) for i in range(n)])


class SlotFiles(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.server = Server('--slot-save-path', self.folder.name, '-np', '2')

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)
        self.folder.cleanup()

    def act(self, slot, action, filename='a.bin'):
        return self.server.post(f'/slots/{slot}?action={action}', {'filename': filename})

    def ask(self, content):
        answer = self.server.post('/v1/chat/completions', chat(content)).json
        return answer['usage']['prompt_tokens_details']['cached_tokens'], answer['choices'][0]['message']['content']

    def test_files(self):
        one, two = 'first ' * 30, 'second ' * 30
        cold = self.ask(one)
        self.assertEqual(cold[0], 0)
        saved = self.act(0, 'save').json
        self.assertEqual((saved['id_slot'], saved['filename']), (0, 'a.bin'))
        self.assertGreater(saved['n_saved'], 60)
        self.assertEqual(saved['n_written'], os.path.getsize(self.folder.name + '/a.bin'))
        self.assertEqual(self.act(0, 'erase').json['n_erased'], saved['n_saved'])
        self.assertEqual(self.ask(two)[0], 0)
        cached, text = self.ask(one)
        self.assertEqual(text, cold[1])
        self.assertLess(cached, 15)  # the template's beginning
        for slot in (0, 1):
            self.act(slot, 'erase')
        restored = self.act(1, 'restore').json
        self.assertEqual((restored['n_restored'], restored['n_read']), (saved['n_saved'], saved['n_written']))
        cached, text = self.ask(one)
        self.assertEqual(text, cold[1])
        self.assertGreater(cached, 60)
        other = self.ask(two)
        self.act(0, 'restore')  # beside a session that holds another prompt
        self.assertEqual(self.ask(two)[1], other[1])
        self.assertEqual(self.ask(one)[1], cold[1])
        self.assertGreater(min(self.ask(one)[0], self.ask(two)[0]), 60)

    def test_damaged(self):
        self.ask('x' * 50)
        self.act(0, 'save')
        path = self.folder.name + '/a.bin'
        os.truncate(path, os.path.getsize(path) - 9)
        answer = self.act(0, 'restore')
        self.assertEqual((answer.status, answer.error['type'], self.folder.name in answer.error['message']), (400, 'invalid_request_error', False))
        self.assertEqual(self.ask('x' * 50)[0], 0)
        self.assertEqual(self.act(0, 'save', 'empty').json['n_saved'], 0)  # what was there is gone, the other session is used
        self.assertFalse(os.path.exists(self.folder.name + '/empty'))

    def test_erase_without_body(self):
        self.ask('erased ' * 20)
        self.assertEqual(self.server.request('POST', '/slots/0?action=erase').status, 200)
        for method, path, headers, status in (('POST', '/slots/0?action=save', {}, 400), ('POST', '/slots/0?action=erase', {'Content-Type': 'text/plain'}, 415),
                                              ('POST', '/slots/0?action=erase', {'Sec-Fetch-Site': 'same-origin'}, 415), ('POST', '/tokenize', {}, 415),
                                              ('POST', '/slots/0?action=erase', {'Origin': 'https://bad.test'}, 403), ('POST', '/slots/0?action=erase', {'Sec-Fetch-Site': 'cross-site'}, 403)):
            with self.subTest(path=path, headers=headers):
                self.assertEqual(self.server.request(method, path, headers=headers).status, status)

    def test_refused(self):
        os.symlink('/etc/passwd', self.folder.name + '/link')
        for slot, action, name in ((0, 'save', '../x'), (0, 'save', 'a/b'), (0, 'save', '..'), (0, 'save', ''), (0, 'save', 3), (0, 'save', None), (0, 'save', 'x' * 129),
                                   (0, 'restore', 'nothing'), (0, 'restore', 'link'), (0, 'burn', 'x'), (0, '', 'x'), (2, 'save', 'x'), (-1, 'save', 'x'), ('x', 'save', 'x'),
                                   ('%200', 'save', 'x'), ('+0', 'save', 'x'), (0, 'save', 'link')):
            with self.subTest(slot=slot, action=action, name=name):
                answer = self.act(slot, action, name)
                self.assertEqual((answer.status, answer.error['type'], self.folder.name in answer.error['message']), (400, 'invalid_request_error', False))
        self.assertEqual(os.listdir(self.folder.name), ['link'])
        other = Server()
        self.assertEqual(other.post('/slots/0?action=erase', {}).status, 501)
        self.assertEqual(other.stop(), 0)


if __name__ == '__main__':
    unittest.main()
