#!/usr/bin/env python3
"""What `fastkv serve` costs and gives: each figure over loopback, with a server of its own that this starts and ends.

  bench/server.py -m model.gguf                       all figures
  bench/server.py -m model.gguf gaps document         these
  bench/server.py --url http://127.0.0.1:8081 together gaps    of a server of another kind that speaks the same protocol

overhead   short prompt: from the request to the first token, less the prompt's own time; milliseconds a token seen outside, and inside
together   tokens/s of 1, 4 and 8 answers at once
first-byte of streams that begin while all sessions answer and a long prompt is computed
gaps       the longest pause of an answer while a prompt of --long tokens is computed, and what that costs the prompt
document   time to the first token of three questions on one document of --document tokens; the session saved and restored, compressed and whole;
           what the compressed one holds of the whole
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent


class Stream:
    """One streamed answer; when its bytes and tokens came, in seconds after the request."""
    def __init__(self, server, path='/v1/completions', **body):
        self.times, self.first_byte, self.last = [], None, {}
        start = time.monotonic()
        c = http.client.HTTPConnection(*server, timeout=600)
        c.request('POST', path, json.dumps({'temperature': 0, 'ignore_eos': True, 'stream': True, **body}), {'Content-Type': 'application/json'})
        answer = c.getresponse()
        self.first_byte = time.monotonic() - start
        while line := answer.readline():
            if not line.startswith(b'data: {'):
                continue
            chunk = json.loads(line[6:])
            if 'error' in chunk:
                raise SystemExit(f'server.py: {chunk["error"]["message"]}')
            choice = (chunk.get('choices') or [{}])[0]
            if choice.get('text') or choice.get('delta', {}).get('content') or chunk.get('content'):
                self.times.append(time.monotonic() - start)
            if 'timings' in chunk or 'fastkv' in chunk:
                self.last = chunk
        c.close()

    @property
    def ttft(self):
        return self.times[0]

    def gaps(self, begin=0, end=1e9):
        return [b - a for a, b in zip(self.times, self.times[1:]) if a >= begin and b <= end]


def together(calls):
    results = [None] * len(calls)

    def run(i):
        results[i] = calls[i]()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def post(server, path, body):
    c = http.client.HTTPConnection(*server, timeout=600)
    c.request('POST', path, json.dumps(body), {'Content-Type': 'application/json'})
    return json.loads(c.getresponse().read())


def ids(n, seed):
    """Pseudo-random ids: in every vocabulary that is measured, and no special token."""
    rng = random.Random(seed)
    return [rng.randrange(1000, 41000) for _ in range(n)]


def overhead(server, options):
    waits, outside, inside = [], [], []
    Stream(server, prompt=ids(16, 0), max_tokens=8)
    for i in range(5):
        s = Stream(server, prompt=ids(32, i + 1), max_tokens=48)
        timings = s.last['timings']
        waits.append(1e3 * s.ttft - timings['prompt_ms'])
        outside.append(1e3 * (s.times[-1] - s.times[0]) / (len(s.times) - 1))
        inside.append(timings['predicted_per_token_ms'])
    print(f'overhead    {statistics.median(waits):.1f} ms to the first token; {statistics.median(outside):.2f} ms a token seen outside, {statistics.median(inside):.2f} ms inside')


def rates(server, options):
    def rate(n):
        start = time.monotonic()
        streams = together([lambda i=i: Stream(server, prompt=f'{i} stories about the sea.\n', max_tokens=64) for i in range(n)])
        return sum(s.last['timings']['predicted_n'] for s in streams) / (time.monotonic() - start - min(s.times[0] for s in streams))
    found = {n: rate(n) for n in (1, 4, 8, 1)}
    print('together    ' + ', '.join(f'{n}: {r:.1f} tokens/s ({r / found[1]:.2f} x)' for n, r in sorted(found.items())))


def first_byte(server, options):
    busy = [lambda i=i: Stream(server, prompt=ids(64, 200 + i), max_tokens=150) for i in range(6)]
    busy.append(lambda: Stream(server, prompt=ids(4000, 300), max_tokens=1))
    late = []

    def ask():
        time.sleep(1)
        for i in range(10):
            late.append(threading.Thread(target=lambda i=i: found.append(Stream(server, prompt=ids(64, 400 + i), max_tokens=1).first_byte)))
            late[-1].start()
            time.sleep(0.3)
        for t in late:
            t.join()
    found = []
    together(busy + [ask])
    print(f'first-byte  median {1e3 * statistics.median(found):.1f} ms, longest {1e3 * max(found):.1f} ms of {len(found)} streams')


def gaps(server, options):
    alone = Stream(server, prompt=ids(options.long, 500), max_tokens=1, cache_prompt=False).ttft
    beside, long, start = [], [], time.monotonic()

    def answer():
        beside.append(Stream(server, prompt='A long story about the sea, chapter by chapter.\n', max_tokens=options.answer))

    def prompt():
        time.sleep(1)
        begin = time.monotonic() - start
        long.append((begin, Stream(server, prompt=ids(options.long, 501), max_tokens=1, cache_prompt=False).ttft))
    together([answer, prompt])
    begin, took = long[0]
    seen = beside[0].gaps(begin, begin + took)
    covered = min(1, (beside[0].times[-1] - begin) / took)
    print(f'gaps        {options.long} tokens: longest pause {1e3 * max(seen):.0f} ms, median {1e3 * statistics.median(seen):.0f} ms of {len(seen)}; '
          f'prompt alone {alone:.1f} s, beside an answer {took:.1f} s ({took / alone:.2f} x; answered during {100 * covered:.0f} % of it)')


def document(server, options):
    text = pathlib.Path('/usr/share/common-licenses/GPL-3').read_text()
    words = (text * 3).split(' ')
    document = ' '.join(words)[:int(4.45 * options.document)]
    questions = ('For how many years must the written offer be valid?', 'Who may change this license document?', 'What is a "covered work"?')
    ttft, cache = [], []
    for i, question in enumerate(questions):
        s = Stream(server, '/v1/chat/completions', messages=[{'role': 'user', 'content': f'{document}\n\n{question}'}], max_tokens=8)
        report = s.last.get('fastkv') or {}
        ttft.append(s.ttft)
        cache.append(s.last['timings'].get('cache_n', 0))
        tokens = s.last['timings']['prompt_n'] + cache[-1]
        if i in (0, 2) and report:
            slot = max(slots(server), key=lambda x: x['n_prompt_tokens'])['id']
            saved = post(server, f'/slots/{slot}?action=save', {'filename': 'bench.fkv'})
            restored = [post(server, f'/slots/{slot}?action=restore', {'filename': 'bench.fkv'}) for _ in range(3)]
            ms = statistics.median(r['timings']['restore_ms'] for r in restored)
            kind = 'compressed' if report['compressed'] else 'whole'
            print(f'restore     {kind}, {saved["n_saved"]} tokens: {saved["n_written"] / 2**20:.0f} MiB in {ms:.0f} ms (saved in {saved["timings"]["save_ms"]:.0f} ms)')
            if report['compressed']:
                print(f'memory      the compressed prompt holds {report["kv_bytes"] / 2**20:.1f} MiB of {report["kv_full_bytes"] / 2**20:.1f}: '
                      f'{report["kv_full_bytes"] / report["kv_bytes"]:.1f} sessions in place of one')
    print(f'document    {tokens} tokens: first token after ' + ', '.join(f'{t:.2f} s ({c} cached)' for t, c in zip(ttft, cache)) + f'; third {ttft[0] / ttft[2]:.0f} x as fast as the first')


def slots(server):
    c = http.client.HTTPConnection(*server, timeout=60)
    c.request('GET', '/slots')
    return json.loads(c.getresponse().read())


FIGURES = {'overhead': overhead, 'together': rates, 'first-byte': first_byte, 'gaps': gaps, 'document': document}


def started(options, folder):
    """A server of ours: (process, address)."""
    log = open(f'{folder}/log', 'w+')
    process = subprocess.Popen([options.program, 'serve', '-m', options.model, '--port', '0', '-np', '8', '-c', '20480', '--slot-save-path', folder, *options.serve.split()], stderr=log)
    while process.poll() is None:
        log.seek(0)
        text = log.read()
        if 'ready' in text:
            print(''.join(line + '\n' for line in text.splitlines() if line.startswith(('model', 'serve', 'memory'))), end='')
            return process, ('127.0.0.1', int(re.search(r'listen  .*:(\d+)\n', text)[1]))
        time.sleep(0.05)
    raise SystemExit(f'server.py: {options.program}: {text}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-m', '--model')
    parser.add_argument('--program', default=str(HERE.parent / 'build/src/cli/fastkv'))
    parser.add_argument('--serve', default='', help='further options of fastkv serve')
    parser.add_argument('--url', help='a server that runs, in place of one of ours')
    parser.add_argument('--long', type=int, default=16000)
    parser.add_argument('--answer', type=int, default=1200, help="tokens of gaps' answer: it must outlast the long prompt")
    parser.add_argument('--document', type=int, default=12000)
    parser.add_argument('figures', nargs='*', metavar='FIGURE', help=', '.join(FIGURES))
    options = parser.parse_args()
    process = None
    with tempfile.TemporaryDirectory() as folder:
        if options.url:
            url = urllib.parse.urlsplit(options.url)
            server = (url.hostname, url.port or 80)
        else:
            process, server = started(options, folder)
        try:
            for name in options.figures or FIGURES:
                FIGURES[name](server, options)
        finally:
            if process:
                process.terminate()
                process.wait(60)


if __name__ == '__main__':
    main()
