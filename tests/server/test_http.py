#!/usr/bin/env python3
"""HTTP itself: who may ask, what is refused, clients that leave, queues, the end."""
import json
import os
import signal
import socket
import tempfile
import time
import unittest

from harness import LETTERS, Case, Server, chat, events, together, until

LONG = {'prompt': 'x', 'max_tokens': 3500, 'logit_bias': LETTERS}


def head(path='/health', method='GET', *lines):
    return '\r\n'.join([f'{method} {path} HTTP/1.1', *lines, '', '']).encode()


class Requests(Case):
    options = ('--max-body', '64K', '--timeout', '2')

    def test_methods(self):
        self.refused(self.server.get('/nothing'), 404, 'not_found_error')
        self.refused(self.server.get('/health/'), 404, 'not_found_error')
        answer = self.server.get('/v1/chat/completions')
        self.refused(answer, 405, 'invalid_request_error')
        self.assertEqual(answer.headers['Allow'], 'POST')
        self.assertEqual(self.server.post('/health', {}).headers['Allow'], 'GET, HEAD')
        answer = self.server.request('HEAD', '/health')
        self.assertEqual((answer.status, answer.body, answer.headers['Content-Length']), (200, b'', '15'))
        self.assertEqual(self.server.request('DELETE', '/health').status, 405)
        for path, status in (('/%68ealth', 200), ('/%2568ealth', 404), ('/health%00', 404), ('/health%00/x', 404)):
            self.assertEqual(self.server.get(path).status, status, path)

    def test_request_ids(self):
        ids = {self.server.get(path).headers['x-request-id'] for path in ('/health', '/nothing', '/v1/models')}
        self.assertEqual(len(ids), 3)

    def test_keep_alive(self):
        c = self.server.connection()
        for _ in range(3):
            c.request('POST', '/v1/completions', json.dumps({'prompt': 'x', 'max_tokens': 1}), {'Content-Type': 'application/json'})
            self.assertEqual(json.loads(c.getresponse().read())['object'], 'text_completion')
        c.close()

    def test_too_large(self):
        self.refused(self.server.post('/tokenize', {'content': 'x' * 70000}), 413, 'invalid_request_error')
        got = self.server.raw(head('/tokenize', 'POST', 'Host: localhost', 'Content-Type: application/json', 'Content-Length: 99999999'))
        self.assertIn(b' 413 ', got.split(b'\r\n')[0])  # before the body
        chunk = b'8000\r\n' + b' ' * 0x8000 + b'\r\n'
        got = self.server.raw(head('/tokenize', 'POST', 'Host: localhost', 'Content-Type: application/json', 'Transfer-Encoding: chunked') + chunk * 3 + b'0\r\n\r\n', False)
        self.assertIn(b' 413 ', got.split(b'\r\n')[0])
        self.assertIn(b' 414 ', self.server.raw(head('/' + 'x' * 9000, 'GET', 'Host: localhost'), False))
        self.assertIn(b' 431 ', self.server.raw(head('/health', 'GET', 'Host: localhost', 'X: ' + 'x' * 40000), False))

    def test_two_readings(self):
        plain = ('Host: localhost', 'Content-Type: application/json')
        for lines in (('Transfer-Encoding: gzip',), ('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), ('Content-Length: 2', 'Content-Length: 2'), ('Content-Length: 2', 'Transfer-Encoding: chunked'), ('Host: localhost', 'Content-Length: 2')):
            got = self.server.raw(head('/tokenize', 'POST', *plain, *lines) + b'{}', False)
            self.assertIn(b' 400 ', got.split(b'\r\n')[0])

    def test_content_type(self):
        for kind, status in (('text/plain', 415), ('application/jsonp', 415), ('application/json; charset=utf-8', 200), ('Application/JSON', 200)):
            self.assertEqual(self.server.post('/tokenize', {'content': 'x'}, {'Content-Type': kind}).status, status)

    def test_slow_header(self):
        s = self.server.connect()
        s.sendall(b'GET /health HT')
        start = time.monotonic()
        self.assertEqual(s.recv(100), b'')  # the inactivity's, here
        self.assertLess(time.monotonic() - start, 11)
        s.close()

    def test_slow_reader(self):
        """An answer nobody takes ends; others go on."""
        s = self.server.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({**LONG, 'stream': True, 'logprobs': 20}).encode()
        s.sendall(head('/v1/completions', 'POST', 'Host: localhost', 'Content-Type: application/json', f'Content-Length: {len(body)}') + body)
        until(lambda: not self.server.idle())
        self.ok(self.server.post('/v1/chat/completions', chat()))
        until(self.server.idle)
        s.close()


class Clients(Case):
    options = ('-np', '2', '--queue', '3', '--sse-ping', '1')

    def leave(self, how, stream, path='/v1/completions'):
        s = self.server.connect()
        body = json.dumps({**LONG, 'stream': stream}).encode()
        s.sendall(head(path, 'POST', 'Host: localhost', 'Content-Type: application/json', f'Content-Length: {len(body)}') + body)
        until(lambda: not self.server.idle())
        if how == 'reset':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        if how == 'half':
            s.shutdown(socket.SHUT_WR)
            until(self.server.idle, 1)
        s.close()
        until(self.server.idle, 1)

    def test_leaving(self):
        fds = self.server.fds()
        for how in ('close', 'reset', 'half'):
            for stream in (True, False):
                with self.subTest(how=how, stream=stream):
                    self.leave(how, stream)
        until(lambda: self.server.fds() <= fds)
        self.ok(self.server.post('/v1/chat/completions', chat()))

    def half_computed(self, body):
        """A client that leaves when a part of its prompt is computed."""
        c = self.server.connection()
        c.request('POST', '/v1/completions', json.dumps({**body, 'stream': True, 'return_progress': True}), {'Content-Type': 'application/json'})
        answer = c.getresponse()
        while True:
            line = answer.fp.readline()
            if b'prompt_progress' in line and json.loads(line[line.index(b'{'):])['prompt_progress']['processed'] > 0:
                break
        answer.close()
        c.close()
        until(self.server.idle, 1)
        until(lambda: b'fastkv_parked_prefills 1\n' in self.server.get('/metrics').body)

    def test_parked(self):
        """Who comes again goes on where it was; whoever else comes is not kept waiting."""
        body = {'prompt': [7 + i % 200 for i in range(3000)], 'max_tokens': 4, 'logit_bias': LETTERS, 'kv_policy': 'full', 'cache_salt': 'parked'}
        self.half_computed(body)
        chunks, _, _ = self.server.stream('/v1/completions', {**body, 'return_progress': True})
        progress = [c['prompt_progress'] for c in chunks if 'prompt_progress' in c]
        self.assertEqual(chunks[-1]['fastkv']['cache'], {**chunks[-1]['fastkv']['cache'], 'source': 'parked', 'tokens': 0})
        self.assertGreater(progress[0]['cache'], 0)
        self.assertEqual((progress[0]['processed'], progress[-1]['processed']), (progress[0]['cache'], 3000))
        text = ''.join(c['choices'][0]['text'] for c in chunks if c['choices'])
        self.assertEqual(self.ok(self.server.post('/v1/completions', {**body, 'cache_prompt': False}))['choices'][0]['text'], text)
        self.half_computed({**body, 'cache_salt': 'other'})
        self.assertEqual(self.ok(self.server.post('/v1/completions', {'prompt': 'x', 'max_tokens': 1}))['fastkv']['cache']['source'], 'none')
        self.assertIn(b'fastkv_parked_prefills 0\n', self.server.get('/metrics').body)

    def test_queue(self):
        """2 run, 3 wait, others are turned away."""
        answers = together([lambda: self.server.post('/v1/completions', {**LONG, 't_max_predict_ms': 800}) for _ in range(9)])
        states = sorted(a.status for a in answers)
        self.assertEqual(states, [200] * 5 + [429] * 4)
        for a in answers:
            if a.status == 429:
                self.refused(a, 429, 'rate_limit_error')
                self.assertGreaterEqual(int(a.headers['Retry-After']), 1)
        refused = 'fastkv_requests_total{api="completions",status="4xx"} '
        counts = [line for line in self.server.get('/metrics').body.decode().splitlines() if line.startswith(refused)]
        self.assertGreaterEqual(int(counts[0].split()[-1]), 4)

    def test_pings(self):
        """Streams that wait for a session are open, and say that they live."""
        long = [lambda: self.server.post('/v1/completions', {**LONG, 't_max_predict_ms': 2500}) for _ in range(2)]
        results = together(long + [lambda: (time.sleep(0.2), self.server.post('/v1/chat/completions', chat(stream=True)))[1]])
        chunks, done, comments = events(results[2].body.decode())
        self.assertTrue(done)
        self.assertEqual([r.status for r in results[:2]], [200, 200])
        self.assertGreater(chunks[-1]['fastkv']['queue_ms'], 1100)
        self.assertGreaterEqual(comments, 1)

    def test_shares(self):
        """An answer goes on while another's prompt is computed."""
        chunks = together([lambda: self.server.stream('/v1/completions', {**LONG, 'max_tokens': 150}),
                           lambda: self.ok(self.server.post('/v1/completions', {'prompt': [7] * 2000, 'max_tokens': 1}))])[0][0]
        self.assertEqual(''.join(c['choices'][0]['text'] for c in chunks),
                         self.ok(self.server.post('/v1/completions', {**LONG, 'max_tokens': 150}))['choices'][0]['text'])


class Keys(Case):
    options = ('--api-key', 'first,second')

    def setUp(self):
        self.path = '/v1/completions'
        self.body = {'prompt': 'x', 'max_tokens': 1}

    def test_keys(self):
        self.refused(self.server.post(self.path, self.body), 401, 'authentication_error')
        for key in ('wrong', 'firs', 'firstt', '', 'first,second'):
            self.refused(self.server.post(self.path, self.body, {'Authorization': f'Bearer {key}'}), 401, 'authentication_error')
        for headers in ({'Authorization': 'Bearer first'}, {'Authorization': 'bearer second'}, {'X-Api-Key': 'second'}):
            self.assertEqual(self.server.post(self.path, self.body, headers).status, 200)

    def test_public(self):
        for path in ('/health', '/v1/models', '/models'):
            self.assertEqual(self.server.get(path).status, 200)
        for path in ('/metrics', '/slots', '/props'):
            self.assertEqual(self.server.get(path).status, 401)

    def test_hidden(self):
        with open(f'/proc/{self.server.process.pid}/cmdline', 'rb') as f:
            self.assertNotIn(b'first', f.read())
        self.assertNotIn('first', self.server.text())

    def test_full_path(self):
        self.assertIn('/', self.ok(self.server.get('/props', {'X-Api-Key': 'first'}))['model_path'])

    def test_key_file(self):
        with tempfile.NamedTemporaryFile('w') as f:
            f.write('from-file\n')
            f.flush()
            os.chmod(f.name, 0o644)
            server = Server('--api-key-file', f.name, env={'FASTKV_API_KEY': 'from-env'})
            try:
                self.assertIn('others can read', server.text())
                for key in ('from-file', 'from-env'):
                    self.assertEqual(server.get('/slots', {'X-Api-Key': key}).status, 200)
            finally:
                self.assertEqual(server.stop(), 0)

    def test_beyond_loopback(self):
        import subprocess
        from harness import MODEL, PROGRAM
        done = subprocess.run([PROGRAM, 'serve', '-m', MODEL, '--host', '0.0.0.0', '--port', '0'], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn('--api-key', done.stderr)


class Browsers(Case):
    options = ('--cors-origins', 'https://good.test', '--allowed-hosts', 'proxy.test', '--api-key', 'k')

    def ask(self, **headers):
        return self.server.post('/tokenize', {'content': 'x'}, {'X-Api-Key': 'k', **{k.replace('_', '-'): v for k, v in headers.items()}})

    def test_origins(self):
        port = self.server.port
        self.assertEqual(self.ask(Origin='https://good.test').headers['Access-Control-Allow-Origin'], 'https://good.test')
        self.assertIsNone(self.ask().headers['Access-Control-Allow-Origin'])
        foreign = self.server.get('/v1/models', {'Origin': 'https://bad.test'})
        self.refused(foreign, 403, 'permission_error')
        self.assertIsNone(foreign.headers['Access-Control-Allow-Origin'])
        self.assertIsNone(self.ask(Origin='https://bad.test').headers['Access-Control-Allow-Origin'])  # it has the key
        self.assertEqual(self.server.get('/v1/models', {'Origin': f'http://localhost:{port}', 'Host': f'localhost:{port}'}).status, 200)
        self.assertEqual(self.server.get('/v1/models', {'Sec-Fetch-Site': 'cross-site'}).status, 403)
        self.assertEqual(self.server.get('/v1/models', {'Origin': 'null'}).status, 403)

    def test_preflight(self):
        good = self.server.request('OPTIONS', '/v1/chat/completions', headers={'Origin': 'https://good.test', 'Access-Control-Request-Method': 'POST'})
        self.assertEqual((good.status, good.headers['Access-Control-Allow-Methods']), (204, 'GET, POST, DELETE'))
        self.assertIsNone(good.headers['Access-Control-Allow-Credentials'])
        self.assertEqual(self.server.request('OPTIONS', '/v1/chat/completions', headers={'Origin': 'https://bad.test'}).status, 403)

    def test_hosts(self):
        for host, status in (('evil.test', 403), ('evil.test:8080', 403), ('localhost', 200), ('127.0.0.1:1', 200), ('[::1]:1', 200), ('proxy.test', 200)):
            self.assertEqual(self.server.get('/health', {'Host': host}).status, status, host)


class Ends(unittest.TestCase):
    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + '/server.sock'
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(path)
            stale.close()
            server = Server(host=path, wait=False)
            until(lambda: 'ready' in server.text())
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            self.assertEqual(server.get('/health', {'Host': 'evil.test', 'Origin': 'https://evil.test'}).status, 200)
            self.assertEqual(server.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_drain(self):
        """What runs goes on for a while, what comes is refused, and all ends."""
        server = Server('--drain', '20', '-np', '1')
        results = together([lambda: server.post('/v1/completions', {**LONG, 't_max_predict_ms': 1500}),
                            lambda: (until(lambda: not server.idle()), server.post('/v1/completions', LONG))[1],
                            lambda: self.end_soon(server)])
        self.assertEqual([r.status for r in results], [200, 503, 503])
        self.assertEqual(results[1].error['type'], 'unavailable_error')
        self.assertEqual(server.process.wait(25), 0)

    def end_soon(self, server):
        until(lambda: not server.idle())
        c = server.connection()
        c.request('GET', '/health')
        c.getresponse().read()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        c.request('GET', '/health')  # on a connection that is open
        answer = c.getresponse()
        answer.read()
        return answer

    def test_give_up(self):
        server = Server('--drain', '0')
        done = together([lambda: server.post('/v1/completions', {**LONG, 'stream': True}), lambda: (until(lambda: not server.idle()), server.process.send_signal(signal.SIGTERM))])
        chunks, ended, _ = events(done[0].body.decode())
        self.assertEqual((chunks[-1]['error']['type'], ended), ('unavailable_error', False))
        self.assertEqual(server.process.wait(5), 0)

    def test_second_signal(self):
        server = Server('--drain', '60')
        s = server.connect()
        body = json.dumps({**LONG, 'stream': True, 'n': 4}).encode()
        s.sendall(head('/v1/completions', 'POST', 'Host: localhost', 'Content-Type: application/json', f'Content-Length: {len(body)}') + body)
        until(lambda: server.busy() == 4)  # one that has not begun would be refused, and all end
        server.process.send_signal(signal.SIGINT)
        until(lambda: 'ending' in server.text())
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.process.wait(2), 130)
        s.close()

    def test_loading(self):
        """The model loads when its template has come, which is a pipe here."""
        with tempfile.TemporaryDirectory() as folder:
            os.mkfifo(folder + '/template')
            server = Server('--chat-template', folder + '/template', wait=False)
            for method, path, body in (('GET', '/health', None), ('POST', '/v1/chat/completions', chat()), ('GET', '/v1/models', None)):
                answer = server.request(method, path, body)
                self.assertEqual((answer.status, answer.error['type']), (503, 'unavailable_error'))
            with open(folder + '/template', 'w') as f:
                f.write("{% for m in messages %}{{ m.content }}{% endfor %}")
            until(lambda: server.get('/health').status == 200)
            self.assertEqual(server.post('/v1/chat/completions', chat()).status, 200)
            self.assertEqual(server.stop(), 0)

    def test_what_is_logged(self):
        """Prompts and answers are nobody's business, unless they are asked for."""
        for options in ((), ('--log-prompts',)):
            server = Server(*options)
            said = server.post('/v1/chat/completions', chat('a \x1b[31m secret', logit_bias=LETTERS)).json['choices'][0]['message']['content']
            self.assertEqual(server.stop(), 0)
            log = server.text()
            self.assertEqual([said in log, '\x1b' in log], [bool(options), False], log)
            self.assertEqual('\\x1b[31m' in log, bool(options), log)

    def test_no_model(self):
        import subprocess
        from harness import PROGRAM
        done = subprocess.run([PROGRAM, 'serve', '-m', '/nowhere.gguf', '--port', '0'], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn('fastkv: error: ', done.stderr)


if __name__ == '__main__':
    unittest.main()
