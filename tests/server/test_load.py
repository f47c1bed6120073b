#!/usr/bin/env python3
"""Many clients, slow ones, a full queue, a server that is killed, and all of it for a while: $FKV_SOAK_S seconds (10; by hand 600)."""
import json
import os
import random
import re
import signal
import socket
import tempfile
import time
import unittest

from harness import LETTERS, Case, Server, chat, together, until

LONG = {'prompt': 'x', 'max_tokens': 3500, 'logit_bias': LETTERS}
SOAK_S = float(os.environ.get('FKV_SOAK_S', 10))


def request(body, path='/v1/completions'):
    data = json.dumps(body).encode()
    return f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n'.encode() + data


def status(server, name):
    """A number of /proc/PID/status: kB of VmRSS, Threads."""
    with open(f'/proc/{server.process.pid}/status') as f:
        return int(re.search(name + r':\s+(\d+)', f.read())[1])


def metric(server, name):
    return sum(float(line.rsplit(' ', 1)[1]) for line in server.get('/metrics').body.decode().splitlines() if line.startswith(name))


def come_and_go(server, rng):
    """One client that ends somewhere in the middle, and how."""
    whole = request({**LONG, 'stream': True})
    with server.connect() as s:
        how = rng.choice(('cut', 'close', 'read', 'half', 'reset'))
        s.sendall(whole[:rng.randrange(len(whole))] if how == 'cut' else whole)
        if how in ('read', 'half', 'reset'):
            s.recv(1000)
        if how == 'half':
            s.shutdown(socket.SHUT_WR)
        if how == 'reset':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')


class Crowd(Case):
    options = ('-np', '4', '--queue', '64', '--timeout', '2')

    def test_a_thousand_leave(self):
        """Nothing is left of 1,000 clients that end in the middle, ten at once; others are answered meanwhile."""
        together([lambda i=i: [come_and_go(self.server, random.Random(-1 - i)) for _ in range(5)] for i in range(10)])  # memory that stays
        until(self.server.idle, 5)
        fds, threads, rss = self.server.fds(), status(self.server, 'Threads'), status(self.server, 'VmRSS')
        waits = []

        def health():
            for _ in range(50):
                start = time.monotonic()
                self.assertEqual(self.server.get('/health').status, 200)
                waits.append(time.monotonic() - start)
        together([lambda i=i: [come_and_go(self.server, random.Random(100 * i + k)) for k in range(100)] for i in range(10)] + [health])
        until(self.server.idle, 5)
        until(lambda: self.server.fds() <= fds, 5)
        self.assertEqual(status(self.server, 'Threads'), threads)
        self.assertLess(status(self.server, 'VmRSS'), 1.05 * rss + 4096)
        self.assertEqual(len(waits), 50)
        self.ok(self.server.post('/v1/chat/completions', chat()))

    def test_slow_clients(self):
        """100 that write a byte now and then, and 50 that read nothing, hold nobody up and are left; their memory is bounded."""
        rss, fds = status(self.server, 'VmRSS'), self.server.fds()
        slow = [self.server.connect() for _ in range(150)]
        for s in slow[:50]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(request({**LONG, 'stream': True, 'logprobs': 20}))
        for i in range(4):
            for s in slow[50:]:
                s.sendall(b'GET /health'[i:i + 1])
            self.assertEqual(self.server.get('/health').status, 200)
            time.sleep(0.2)
        self.assertEqual(self.server.post('/tokenize', {'content': 'x'}).status, 200)
        self.assertLess(status(self.server, 'VmRSS'), rss + (64 << 10))
        for s in slow[50:]:
            s.settimeout(15)
            self.assertIn(s.recv(100)[:12], (b'', b'HTTP/1.1 408'))  # nobody waits for the rest
        for s in slow:
            s.close()
        until(self.server.idle, 10)
        until(lambda: self.server.fds() <= fds + 1, 5)
        self.ok(self.server.post('/v1/chat/completions', chat()))

    def test_full_queue(self):
        """4 run, 64 wait, 100 are turned away at once; none is lost, none answered twice."""
        def ended():
            return [metric(self.server, 'fastkv_requests_total{api="completions",status="%s"}' % s) for s in ('2xx', '4xx')]
        before = ended()
        answers = []

        def run(n, **fields):
            answers.extend(together([lambda: self.server.post('/v1/completions', {'prompt': 'x', 'max_tokens': 2, 'logit_bias': LETTERS, **fields})] * n))

        def crowd():
            until(lambda: metric(self.server, 'fastkv_requests_processing') == 4)
            together([lambda: run(64), late])

        def late():
            until(lambda: metric(self.server, 'fastkv_requests_waiting') == 64)
            run(100)
        together([lambda: run(4, max_tokens=3500, t_max_predict_ms=3000), crowd])
        self.assertEqual(sorted(a.status for a in answers), [200] * 68 + [429] * 100)
        self.assertTrue(all(int(a.headers['Retry-After']) >= 1 for a in answers if a.status == 429))
        until(lambda: [now - n for now, n in zip(ended(), before)] == [68, 100], 5)  # counted when it has gone out


class Killed(unittest.TestCase):
    def test_killed_while_it_saves(self):
        """Whatever moment it is: no half file stays, what there is serves, and answers are right."""
        rng, texts = random.Random(7), [f'document {i} ' * 60 for i in range(3)]
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as slots:
            server = Server('--cache-disk', cache, '--slot-save-path', slots)
            ask = lambda t: server.post('/v1/chat/completions', chat(t, logit_bias=LETTERS, kv_policy='full')).json['choices'][0]['message']['content']  # noqa: E731
            right = [ask(t) for t in texts]

            def save(i):
                try:
                    while True:
                        server.post(f'/slots/{i}?action=save', {'filename': f'{i}.fkv'})
                except (OSError, ValueError, AssertionError):
                    pass  # it was killed
            for _ in range(8):
                together([lambda: save(0), lambda: save(1), lambda: (time.sleep(rng.uniform(0.01, 0.15)), server.process.send_signal(signal.SIGKILL))])
                server.stop()
                server = Server('--cache-disk', cache, '--slot-save-path', slots)
                self.assertEqual([name for folder in (cache, slots) for name in os.listdir(folder) if not re.fullmatch(r'(\w+\.fkv|\.?lock)', name)], [])
                for name in os.listdir(slots):
                    self.assertEqual(server.post('/slots/0?action=restore', {'filename': name}).status, 200)
                self.assertEqual([ask(t) for t in texts], right)
            self.assertEqual(server.stop(), 0)


class Soak(unittest.TestCase):
    def work(self, server, rng, until_s, right):
        while time.monotonic() < until_s:
            what = rng.choice(('ask', 'ask', 'ask', 'stream', 'leave', 'save', 'bad', 'look'))
            text = rng.choice(list(right))
            if what in ('ask', 'stream'):
                body = chat(text, logit_bias=LETTERS, kv_policy='full', stream=what == 'stream')
                answer = server.post('/v1/chat/completions', body)
                if answer.status == 200 and what == 'ask':
                    self.assertEqual(answer.json['choices'][0]['message']['content'], right[text])
                self.assertIn(answer.status, (200, 429))
            elif what == 'leave':
                come_and_go(server, rng)
            elif what == 'save':
                name, slot = rng.choice('abc'), rng.randrange(4)
                self.assertEqual(server.post(f'/slots/{slot}?action=save', {'filename': name}).status, 200)
                self.assertIn(server.post(f'/slots/{slot}?action=restore', {'filename': name}).status, (200, 400))  # an empty one leaves no file
            elif what == 'bad':
                self.assertEqual(server.post('/v1/completions', {'prompt': 3}).status in (400, 429), True)
            else:
                self.assertEqual([server.get(path).status for path in ('/health', '/slots', '/metrics', '/props')], [200] * 4)
            self.counts[what] = self.counts.get(what, 0) + 1

    def test_soak(self):
        """No wrong answer, and no growth in the last two thirds."""
        self.counts = {}
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as slots:
            server = Server('--cache-disk', cache, '--cache-disk-limit', '64M', '--slot-save-path', slots, '--kv-ram', '8M')
            texts = [f'text {i} ' * (10 + 7 * i) for i in range(12)]
            right = {t: server.post('/v1/chat/completions', chat(t, logit_bias=LETTERS, kv_policy='full', cache_prompt=False)).json['choices'][0]['message']['content'] for t in texts}
            start, fds = time.monotonic(), server.fds()
            marks = []

            def look():
                time.sleep(SOAK_S / 3)
                marks.append(status(server, 'VmRSS'))
            together([lambda i=i: self.work(server, random.Random(i), start + SOAK_S, right) for i in range(6)] + [look])
            until(server.idle, 5)
            self.assertLess(status(server, 'VmRSS'), 1.05 * marks[0] + 8192, self.counts)
            until(lambda: server.fds() <= fds + 4, 5)
            self.assertEqual(len(self.counts), 6, self.counts)
            self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    unittest.main()
