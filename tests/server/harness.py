"""A server under test, and a plain client: HTTP by the standard library, streams line by line.

FKV_PROGRAM and FKV_MODEL name the program and a model."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

PROGRAM, MODEL = os.environ['FKV_PROGRAM'], os.environ['FKV_MODEL']
LETTERS = [[i, False] for i in range(259)]  # bias: no bytes, no end: answers of letters alone


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json['error']


class Server:
    def __init__(self, *options, host='127.0.0.1', wait=True, env=None, model=MODEL):
        self.host = host
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([PROGRAM, 'serve', '-m', model, '--host', host, '--port', '0', '-t', '1', '--temp', '0', *options],
                                        stderr=self.log, env={**os.environ, **(env or {})})
        self.port = None if host.endswith('.sock') else self.find_port()
        if wait:
            until(lambda: self.get('/health').status == 200)

    def text(self):
        """What it has printed."""
        if self.log.closed:
            return self.log_text
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def find_port(self):
        until(lambda: re.search(r'listen  .*:(\d+)\n', self.text()) or self.process.poll() is not None)
        return int(re.search(r'listen  .*:(\d+)\n', self.text())[1])

    def connect(self):
        if self.port is None:
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.host)
        else:
            s = socket.create_connection((self.host, self.port))
        s.settimeout(60)
        return s

    def connection(self):
        c = http.client.HTTPConnection('localhost', self.port or 80, timeout=60)
        c.sock = self.connect()
        return c

    def request(self, method, path, body=None, headers=None):
        c = self.connection()
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            c.request(method, path, data, {**({'Content-Type': 'application/json'} if data is not None else {}), **(headers or {})})
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, headers=None):
        return self.request('GET', path, headers=headers)

    def post(self, path, body, headers=None):
        return self.request('POST', path, body, headers)

    def stream(self, path, body, headers=None):
        """All events of a stream: (objects, whether it ended with [DONE], comments)."""
        answer = self.post(path, {**body, 'stream': True}, headers)
        assert answer.status == 200 and answer.headers['Content-Type'] == 'text/event-stream', answer.body
        return events(answer.body.decode())

    def raw(self, data, until_closed=True):
        """What comes back for these bytes."""
        with self.connect() as s:
            s.sendall(data)
            got = b''
            while chunk := s.recv(65536):
                got += chunk
                if not until_closed and b'\r\n\r\n' in got:
                    break
            return got

    def busy(self):
        return sum(slot['is_processing'] for slot in self.get('/slots').json)

    def idle(self):
        return self.busy() == 0

    def fds(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def stop(self, timeout=40):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.log_text = self.text()
            self.log.close()


def events(text):
    objects, done, comments = [], False, 0
    for line in text.split('\n'):
        if line == 'data: [DONE]':
            done = True
        elif line.startswith('data: '):
            objects.append(json.loads(line[6:]))
        elif line.startswith(':'):
            comments += 1
        else:
            assert line == '', line
    return objects, done, comments


def until(condition, seconds=20):
    """Waits for what another process does."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.01)
    return value


def together(calls):
    """Their results, each on a thread of its own; what one of them raises is raised."""
    results, raised = [None] * len(calls), []

    def run(i):
        try:
            results[i] = calls[i]()
        except Exception as e:
            raised.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if raised:
        raise raised[0]
    return results


class Case(unittest.TestCase):
    """Tests that share a server."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, f'exit status {status}:\n{cls.server.text()}'

    def ok(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def refused(self, answer, status, kind, *words):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.error['type'], kind)
        self.assertEqual(set(answer.error) >= {'message', 'type', 'param', 'code'}, True)
        for word in words:
            self.assertIn(word, answer.error['message'])


def chat(content='Say something about the weather.', **fields):
    return {'messages': [{'role': 'user', 'content': content}], 'max_tokens': 8, **fields}
