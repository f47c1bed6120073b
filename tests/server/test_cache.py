#!/usr/bin/env python3
"""What prompts find in the prefix cache: in memory, on disk, and why they do not."""
import os
import tempfile
import unittest

from harness import LETTERS, Case, Server, chat, until

TIGHT = {'kv_policy': 'fastkv', 'kv_retain': 0.3, 'kv_floor': 64, 'tsp_floor': 64}
FULL = {'kv_policy': 'full'}


def words(name, n):
    return ' '.join(f'{name}{i}' for i in range(n))


class Cached(Case):
    def ask(self, messages, server=None, **fields):
        """(cached tokens, text, prompt tokens, what the cache says)"""
        body = {'messages': messages if isinstance(messages, list) else [{'role': 'user', 'content': messages}], 'max_tokens': 6, 'logit_bias': LETTERS, **fields}
        answer = self.ok((server or self.server).post('/v1/chat/completions', body))
        usage = answer['usage']
        self.fastkv = answer['fastkv']
        return usage['prompt_tokens_details']['cached_tokens'], answer['choices'][0]['message'], usage['prompt_tokens'], self.fastkv['cache']

    def cold(self, messages, **fields):
        return self.ask(messages, cache_prompt=False, **fields)[1]


class Memory(Cached):
    options = ('-c', '4096', '-np', '2')

    def test_branches_grow(self):
        """Two conversations with a common beginning, turn by turn: all but the new rows is cached, from whichever session."""
        start = [{'role': 'system', 'content': words('rule', 40)}]
        branches = [start + [{'role': 'user', 'content': f'{name} asks'}] for name in ('one', 'two')]
        before = [0, 0]
        for turn in range(3):
            for i, messages in enumerate(branches):
                cached, answer, n, cache = self.ask(messages, **FULL)
                self.assertGreaterEqual(cached, before[i] - 2 if turn else (i > 0) * 40)
                self.assertEqual(answer, self.cold(messages, **FULL) if turn == 0 else answer)
                messages += [answer, {'role': 'user', 'content': f'more {turn}'}]
                before[i] = n

    def test_not_used_up(self):
        """B and C share A's beginning; A, longer, finds all of A."""
        a = 'alpha ' + words('a', 30)
        self.ask(a, **FULL)
        n = self.ask('alpha ' + words('a', 20) + ' b', **FULL)[0]
        self.assertGreater(n, 60)
        self.assertGreaterEqual(self.ask('alpha ' + words('a', 20) + ' c', **FULL)[0], n)
        cached, answer, n, cache = self.ask(a, **FULL)
        self.assertEqual((cached, cache['source'], cache['miss']), (n - 2, 'ram', None))

    def test_same_text(self):
        """Cached or not, whole or by a policy: the same text, and why."""
        for fields in (FULL, TIGHT):
            content = fields['kv_policy'] + ' ' + words('same', 150)
            cold, first, again = (self.ask(content, cache_prompt=c, **fields) for c in (False, True, True))
            self.assertEqual((first[1], again[1]), (cold[1], cold[1]))
            self.assertEqual((cold[0], cold[3]['miss']), (0, 'disabled'))
            self.assertGreater(again[0], again[2] * 0.95)

    def test_compressed_turns(self):
        """They serve what contains all of them, and whoever wants a cut in one computes again."""
        messages = [{'role': 'user', 'content': words('turn', 100)}]
        _, answer, n, _ = self.ask(messages, **TIGHT)
        self.assertTrue(self.fastkv['compressed'])
        longer = messages + [answer, {'role': 'user', 'content': 'and then'}]
        cached, _, _, _ = self.ask(longer, **TIGHT)
        self.assertGreaterEqual(cached, n)
        self.assertEqual(self.ask(longer, **{**TIGHT, 'kv_retain': 0.2})[3]['miss'], 'tag')
        cut = [{'role': 'user', 'content': words('turn', 90) + ' other'}]
        cached, _, _, cache = self.ask(cut, **TIGHT)
        self.assertEqual((cached, cache['miss'], cache['differs_at']['role']), (0, 'compressed', 'user'))
        self.assertEqual(self.ask(longer, **FULL)[3]['miss'], 'compressed')

    def test_system_part_is_a_trunk(self):
        system = {'role': 'system', 'content': words('system', 80)}
        for i in range(2):
            cached, _, _, _ = self.ask([system, {'role': 'user', 'content': words(f'q{i}', 100)}], **TIGHT)
            self.assertTrue(self.fastkv['compressed'])
            self.assertEqual(cached > 256, i > 0)
        self.assertEqual(self.fastkv['turn']['first'], cached)

    def test_second_sight(self):
        """First question compressed, second pays for a trunk, from the third on only the question is computed."""
        document = words('document', 260)
        for i, (compressed, reason) in enumerate(((True, 'named'), (False, 'second_sight'), (False, 'named'))):
            cached, _, n, cache = self.ask(f'{document}\n\nquestion {i}', **{**TIGHT, 'kv_floor': 1024, 'tsp_floor': 1024})
            self.assertEqual((self.fastkv['compressed'], self.fastkv['reason']), (compressed, reason))
            self.assertEqual(cached >= 2048, i == 2)
        self.assertGreater(cached, n * 0.9)

    def test_document_mode(self):
        messages = [{'role': 'user', 'content': words('paper', 60)}, {'role': 'assistant', 'content': 'Read.'}]
        for i in range(2):
            cached, _, n, _ = self.ask(messages + [{'role': 'user', 'content': f'question {i}'}], kv_mode='document', **TIGHT)
            self.assertEqual((self.fastkv['compressed'], self.fastkv['reason']), (False, 'document'))
            self.assertEqual(cached > n * 0.9, i > 0)
        text = '\n'.join(words(f'line{i}', 20) for i in range(10))  # a single message: all but its end, at a line's
        self.ask(text + ' one', kv_mode='document', **TIGHT)
        self.assertGreater(self.ask(text + ' two', kv_mode='document', **TIGHT)[0], 256)

    def test_salts(self):
        content = words('salt', 40)
        self.ask(content, cache_salt='a')
        self.assertEqual(self.ask(content, cache_salt='b')[3]['miss'], 'salt')
        self.assertGreater(self.ask(content, cache_salt='a')[0], 40)
        self.refused(self.server.post('/v1/chat/completions', chat(cache_salt='x' * 300)), 400, 'invalid_request_error', 'cache_salt')

    def test_slots(self):
        self.ask('in slot one', id_slot=1)
        slots = self.ok(self.server.get('/slots'))
        self.ask(words('elsewhere', 9), id_slot=1)
        self.assertNotEqual(self.ok(self.server.get('/slots'))[1]['n_prompt_tokens'], slots[1]['n_prompt_tokens'])
        self.assertEqual(self.ok(self.server.get('/slots'))[0]['n_prompt_tokens'], slots[0]['n_prompt_tokens'])
        self.refused(self.server.post('/v1/chat/completions', chat(id_slot=2)), 400, 'invalid_request_error', 'id_slot')

    def test_pushed_out(self):
        """Whoever lost the session to others finds the prompt in memory."""
        first = self.ask(words('pushed', 40), **FULL)
        for i in range(4):
            self.ask(words(f'others{i}', 40), **FULL)
        cached, answer, n, cache = self.ask(words('pushed', 40), **FULL)
        self.assertEqual((cached, answer, cache['source']), (n - 2, first[1], 'ram'))

    def test_several_choices(self):
        texts = [c['message']['content'] for c in self.ok(self.server.post('/v1/chat/completions', chat(words('n', 40), n=3, logit_bias=LETTERS)))['choices']]
        self.assertEqual(len(set(texts)), 1)
        self.assertGreater(self.ask(words('n', 40))[0], 40)


class Prefixes(Cached):
    options = ('-c', '4096', '-np', '2')

    def entries(self):
        return {e['id']: e for e in self.ok(self.server.get('/v1/prefixes'))['data']}

    def test_ahead(self):
        """Computed before anyone asks; the question finds it."""
        document = {'role': 'user', 'content': words('ahead', 200)}
        events, done, _ = self.server.stream('/v1/prefixes', {'messages': [document]})
        progress = [e['prompt_progress'] for e in events if 'prompt_progress' in e]
        self.assertTrue(done)
        self.assertEqual((progress[0]['processed'], progress[-1]['processed']), (0, progress[-1]['total']))
        self.assertEqual(events[-1]['tokens'], progress[-1]['total'])
        self.assertGreater(self.entries()[events[-1]['id']]['bytes'], 0)
        cached, _, n, _ = self.ask(document['content'] + ' And now?', **FULL)
        self.assertGreaterEqual(cached, events[-1]['tokens'] - 3)
        again = self.ok(self.server.post('/v1/prefixes', {'messages': [document]}))
        self.assertGreater(again['cached_tokens'], n * 0.9)

    def test_pins(self):
        made = [self.ok(self.server.post('/v1/prefixes', {'prompt': words(f'p{i}', 60), **fields}))['id'] for i, fields in enumerate(({'pin': True}, {'ttl_s': 100}, {}))]
        entries = self.entries()
        self.assertEqual([entries[i]['pinned'] for i in made], [True, True, False])
        self.assertLess(entries[made[1]]['ttl_s'], 100)
        self.assertNotIn('prompt', entries[made[0]])
        self.assertTrue(self.ok(self.server.request('DELETE', f'/v1/prefixes/{made[0]}'))['deleted'])
        self.assertNotIn(made[0], self.entries())
        self.refused(self.server.request('DELETE', f'/v1/prefixes/{made[0]}'), 404, 'not_found_error')
        self.assertEqual(self.ask_native(words('p0', 60)), 0)
        self.assertGreater(self.ask_native(words('p2', 60)), 60)

    def ask_native(self, prompt):
        return self.ok(self.server.post('/completion', {'prompt': prompt + ' ?', 'n_predict': 1}))['timings']['cache_n']

    def test_refused(self):
        for body in ({}, {'messages': []}, {'prompt': ['a', 'b']}, {'prompt': 'x', 'pin': 3}, {'prompt': 'x', 'ttl_s': 'long'}):
            self.refused(self.server.post('/v1/prefixes', body), 400, 'invalid_request_error')

    def test_metrics(self):
        self.ask(words('metrics', 30))
        self.ask(words('metrics', 30))
        text = self.server.get('/metrics').body.decode()
        self.assertRegex(text, r'fastkv_prompt_tokens_cached_total [1-9]')
        for line in ('fastkv_prefix_misses_total{reason="cold"} ', 'fastkv_kv_bytes{kind="cached"} ', 'fastkv_prefix_cache_hit_ratio 0.', 'fastkv_disk_bytes 0'):
            self.assertIn(line, text)


class Log(Cached):
    options = ('--log-prompts', '-np', '1')

    def test_one_line_a_miss(self):
        first = [{'role': 'system', 'content': words('be', 20)}, {'role': 'user', 'content': 'Tell me of birds'}]
        second = [first[0], {'role': 'user', 'content': 'Tell me of fish'}]
        for messages in (first, second, second):
            self.ask(messages, **FULL)
        lines = [line for line in self.server.text().splitlines() if line.startswith('cache ')]
        self.assertEqual(len(lines), 2)
        self.assertIn(', cold', lines[0])
        self.assertRegex(lines[1], r'chatcmpl-\w+: \d+ of \d+ tokens \(ram\), differs at token \d+, message 1 \(user\): ".*fish.*", there ".*birds')


class Short(Cached):
    """Memory for some prompts only."""
    options = ('-c', '2048', '-np', '2', '--kv-ram', '1500K')

    def test_eviction(self):
        for i in range(8):
            self.ask(words(f'evicted{i}', 50), **FULL)
        self.assertEqual(self.ask(words('evicted0', 50), **FULL)[3]['miss'], 'evicted')
        self.assertGreater(self.ask(words('evicted7', 50), **FULL)[0], 200)

    def test_no_room_for_a_trunk(self):
        """Compressed where a document does not fit whole with what follows it; in full it is refused, with both numbers."""
        reasons = set()
        for n in range(100, 200, 10):
            self.ask(words(f'm{n}_', n), kv_mode='document', **TIGHT)
            reasons.add((self.fastkv['reason'], self.fastkv['compressed']))
        self.assertEqual(reasons, {('document', True), ('memory', True)})
        self.refused(self.server.post('/v1/chat/completions', chat(words('m000_', 188), **FULL)), 503, 'unavailable_error', 'needs up to 2.', '--kv-ram is 1.5 MiB')

    def test_never(self):
        """What will never fit is refused before a stream begins, and not to be sent again."""
        for path, body in (('/v1/chat/completions', chat(words('n000_', 188), **FULL)), ('/v1/prefixes', {'prompt': words('n000_', 188)})):
            for stream in (False, True):
                answer = self.server.post(path, {**body, 'stream': stream})
                self.refused(answer, 503, 'unavailable_error', 'needs up to', '--kv-ram is 1.5 MiB')
                self.assertEqual(answer.headers['x-should-retry'], 'false')

    def test_whole_for_agents(self):
        """Whole, and where that does not fit, by the server's policy, which says so."""
        tight = {k: v for k, v in TIGHT.items() if k != 'kv_policy'}
        for n, reason, compressed in ((60, 'agent', False), (188, 'memory', True)):
            self.ask(words(f'g{n}_', n), kv_mode='agent', **tight)
            self.assertEqual((self.fastkv['reason'], self.fastkv['compressed']), (reason, compressed))
        self.refused(self.server.post('/v1/chat/completions', chat(words('g188_', 188), kv_mode='agent', **FULL)), 503, 'unavailable_error')


class Disk(Cached):
    options = ('-np', '1')

    def test_restart(self):
        document = words('disk', 280)
        with tempfile.TemporaryDirectory() as folder:
            def served(writes=0):
                server = Server('--cache-disk', folder, '-np', '1', '-c', '4096')
                try:
                    result = self.ask(document, server, **FULL)
                    self.ask(document, server, **FULL)  # a second use: worth a file
                    until(lambda: f'fastkv_disk_writes_total {writes}\n' in server.get('/metrics').body.decode())
                finally:
                    self.assertEqual(server.stop(), 0)
                return result
            cold = served(1)
            self.assertEqual(cold[0], 0)
            files = [f for f in os.listdir(folder) if f.endswith('.fkv')]
            self.assertEqual(len(files), 1)
            warm = served()
            self.assertEqual((warm[0], warm[3]['source'], warm[1]), (warm[2] - 2, 'disk', cold[1]))
            self.assertEqual([f for f in os.listdir(folder) if f.endswith('.fkv')], files)  # a few tokens more are not worth another
            path = os.path.join(folder, files[0])
            with open(path, 'r+b') as f:
                f.seek(os.path.getsize(path) // 2)
                f.write(b'damage' * 100)
            damaged = served(1)
            self.assertEqual((damaged[0], damaged[3]['miss'], damaged[1]), (0, 'disk_corrupt', cold[1]))
            other = Server('--cache-disk', folder, '-np', '1', '-c', '4096')
            blocked = Server('--cache-disk', folder, wait=False)
            self.assertEqual(blocked.process.wait(20), 1)
            self.assertIn('another process', blocked.text())
            blocked.stop()
            other.stop()


if __name__ == '__main__':
    unittest.main()
