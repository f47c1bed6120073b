#!/usr/bin/env python3
"""Pictures and JSON of `fastkv compare` with hostile texts: well formed, and the text in them is the prompt's.

test_compare.py PROGRAM MODEL WRITER    MODEL: a small one that answers hello world; WRITER: writes one that takes any bytes and answers any"""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

PROGRAM, MODEL, WRITER = (os.path.abspath(p) for p in sys.argv[1:4])
SVG, HTML = '{http://www.w3.org/2000/svg}', '{http://www.w3.org/1999/xhtml}'
TEXTS = {
    'markup': b'</svg></text></i></div><script>alert("1")</script> ]]> <!-- & &amp; \' " <?xml?>',
    'control bytes': bytes(range(1, 32)) + b'\x7f\x00 end',
    'not UTF-8': b'caf\xe9 \xff\xfe \xc3( \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82',
    'beyond XML': '\ufffe \uffff \U0001f600 \u202e \u00e9'.encode(),
    'many lines': b'one line of many, and & more\n' * 12,
}


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def compare(self, *arguments, model=MODEL):
        return subprocess.run([PROGRAM, 'compare', '-m', model, '-t', '1', *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    def expect_success(self, *arguments, **how):
        p = self.compare(*arguments, **how)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout.decode()

    def test_pictures(self):
        model = subprocess.run([WRITER, 'model'], capture_output=True, text=True, check=True).stdout.strip()
        self.addCleanup(os.unlink, model)
        document, drawn, page, data = (self.path(name) for name in ('text', 'map.svg', 'page.html', 'data.json'))
        options = ('--raw', '-f', document, '-p', 'why?', '--kv-floor', '0', '--kv-policy', 'snapkv', '--kv-retain', '0.3', '-n', '24')
        for what, text in TEXTS.items():
            with self.subTest(text=what):
                with open(document, 'wb') as f:
                    f.write(text)
                said = self.expect_success(*options, '--picture', drawn, '--json', data, '--budgets', '0.2,1', model=model)
                self.assertIn('\nfidelity ', said)
                self.assertEqual([c for c in said if c < ' ' and c not in '\n\t'], [])
                elements = list(xml.parse(drawn).iter())
                self.assertEqual({e.tag for e in elements} - {SVG + t for t in ('svg', 'rect', 'text', 'path')}, set())
                frames = [e for e in elements if e.get('stroke') == '#d00']
                self.assertTrue(frames or what != 'many lines')
                self.assertTrue(all(float(e.get('x')) >= 60 and float(e.get('x')) + float(e.get('width')) <= 650 for e in frames))
                self.expect_success(*options, '--picture', page, model=model)
                body = xml.parse(page).getroot().find(HTML + 'body')
                self.assertEqual({e.tag.removeprefix(HTML) for e in body.iter()} - {'body', 'h1', 'h2', 'p', 'pre', 'div', 'i'}, set())
                shown = ''.join(body.find(HTML + 'div').itertext())
                self.assertTrue(shown.endswith('\n\nwhy?'), shown)
                if what in ('markup', 'many lines'):
                    self.assertIn(text.decode(), shown.replace('\u2581', ' '))
                with open(data) as f:
                    found = json.load(f)
                self.assertEqual(([v['budget'] for v in found['variants']], found['variants'][2]['kl']), ([None, 0.2, 1], 0))
                self.assertEqual({len(x) for x in found['tokens'].values()}, {found['n_prompt']})

    def test_report(self):
        document = self.path('text')
        with open(document, 'w') as f:
            f.write('word ' * 40)
        said = self.expect_success('-f', document, '-p', 'why?', '--kv-policy', 'full')
        self.assertTrue(said.startswith('full attention   hello world\nfull, again      hello world\n                 the same: '), said)
        self.assertIn('fidelity         KL 0.0000 nats a token (first token 0.0000), top-1 ', said)
        said = self.expect_success('-f', document, '-p', 'why?')
        self.assertIn('\nadvice           nothing was dropped: ', said)

    def test_failures(self):
        for arguments, message in {
                (): 'a prompt is needed: -p TEXT, -f FILE or --prompt-ids FILE',
                ('-p', 'x', '--kv-policy', 'best'): '--kv-policy: expected one of ',
                ('-p', 'x', '--budgets', '0.1,2'): '--budgets: expected shares in (0, 1], found 0.1,2',
                ('-p', 'x', '--budgets', '0'): '--budgets: expected shares in (0, 1], found 0',
                ('-p', 'x', '--budgets', '0.1,'): '--budgets: expected shares in (0, 1], found 0.1,',
                ('-p', 'x', '--budgets', 'some'): '--budgets: expected shares in (0, 1], found some',
                ('-p', 'x', '--picture', 'map.png'): '--picture: expected FILE.svg or FILE.html, found map.png',
                ('-p', 'x', '--picture', '/nowhere/map.svg'): '/nowhere/map.svg: cannot be written: No such file or directory',
                ('-p', 'x', '--json', '/nowhere/x'): '/nowhere/x: cannot be written: No such file or directory',
                ('-p', 'x', '-n', '0'): '-n: expected a number of tokens from 1 to 65536, found 0',
                ('-p', 'x', '-n', '600'): 'the prompt has ',
                ('-f', '/nowhere/x'): '/nowhere/x: cannot be read: No such file or directory',
                ('-p', 'x', '--temp', '0'): '--temp is an option of run, not of compare',
        }.items():
            with self.subTest(arguments=arguments):
                p = self.compare(*arguments)
                lines = [line for line in p.stderr.decode().splitlines() if line.startswith('fastkv: error: ')]
                self.assertEqual((p.returncode, p.stdout, len(lines)), (1, b'', 1), p.stderr)
                self.assertTrue(lines[0].startswith('fastkv: error: ' + message), lines[0])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
