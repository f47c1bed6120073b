#!/usr/bin/env python3
"""The page in a browser: Debian's Chromium by its driver, spoken to in WebDriver's own protocol.

Screenshots to be looked at are left in the folder it runs in."""
import base64
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import Server, until

DRIVER, CHROMIUM = shutil.which('chromedriver'), shutil.which('chromium')
ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'  # what WebDriver calls a reference to one
DOCUMENT = ' '.join(f'Part {i} is valid for {i % 7} years, <b>not</b> less.' for i in range(70))


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen([DRIVER, '--port=0'], stdout=subprocess.PIPE, text=True)
        line = next(line for line in self.driver.stdout if 'successfully on port' in line)
        self.port = int(line.rstrip('.\n').split()[-1])
        options = {'binary': CHROMIUM, 'args': ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--window-size=1280,860']}
        capabilities = {'browserName': 'chrome', 'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}
        self.path = ''
        self.path = '/session/' + self.call('POST', '/session', {'capabilities': {'alwaysMatch': capabilities}})['sessionId']

    def call(self, method, path, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)
        c.request(method, self.path + path, json.dumps(body) if body is not None else None, {'Content-Type': 'application/json'})
        value = json.loads(c.getresponse().read())['value']
        c.close()
        if isinstance(value, dict) and 'error' in value:
            raise AssertionError(value['message'])
        return value

    def open(self, url):
        self.call('POST', '/url', {'url': url})

    def run(self, script, *args):
        return self.call('POST', '/execute/sync', {'script': script, 'args': args})

    def text(self, name):
        return self.run('return document.getElementById(arguments[0]).textContent', name)

    def hidden(self, name):
        return self.run('return document.getElementById(arguments[0]).hidden', name)

    def element(self, name):
        return self.call('POST', '/element', {'using': 'css selector', 'value': '#' + name})[ELEMENT]

    def type(self, name, text):
        self.call('POST', f'/element/{self.element(name)}/value', {'text': text})

    def click(self, name):
        self.call('POST', f'/element/{self.element(name)}/click', {})

    def devtools(self, command, **params):
        self.call('POST', '/goog/cdp/execute', {'cmd': command, 'params': params})

    def screenshot(self, name):
        with open(f'page-{name}.png', 'wb') as f:
            f.write(base64.b64decode(self.call('GET', '/screenshot')))

    def complaints(self):
        return [entry['message'] for entry in self.call('POST', '/se/log', {'type': 'browser'})]

    def close(self):
        try:
            self.call('DELETE', '')
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()


@unittest.skipUnless(DRIVER and CHROMIUM, 'no Chromium with its driver')
class Page(unittest.TestCase):
    options = ('-c', '8192', '--kv-floor', '0', '--tsp-floor', '0')

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options, '-n', '24')
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        status = cls.server.stop()
        assert status == 0, f'exit status {status}:\n{cls.server.text()}'

    def setUp(self):
        self.load(self.server)

    def load(self, server):
        self.browser.open(f'http://127.0.0.1:{server.port}/')
        until(lambda: 'connecting' not in self.browser.text('model'))

    def ask(self, question):
        self.browser.type('text', question + '\ue007')  # Enter

    def answered(self, n=1):
        """The texts of n turns, when the last of them is complete."""
        until(lambda: self.browser.hidden('stop') and self.browser.run('return document.querySelectorAll(".figures").length') >= n, 60)
        return self.browser.run('return [...document.querySelectorAll(".turn")].map(e => e.textContent)')

    def give(self, text):
        with tempfile.NamedTemporaryFile('w', suffix='.txt') as f:
            f.write(text)
            f.flush()
            self.browser.type('file', f.name)
            until(lambda: 'tokens' in self.browser.text('doc-note') and 'counting' not in self.browser.text('doc-note'))
            return os.path.basename(f.name)

    def test_asks_twice(self):
        self.ask('Which weather is it?')
        self.answered()
        self.ask('And tomorrow?')
        turns = self.answered(2)
        self.assertEqual([turns[0], turns[2]], ['Which weather is it?', 'And tomorrow?'])
        self.assertRegex(turns[1], r'prompt \d+ tokens at \d+ tokens/s')
        self.assertIn('KV', turns[3])
        self.assertEqual(self.browser.run('return state.messages.map(m => m.role)'), ['user', 'assistant'] * 2)

    def test_document_and_map(self):
        self.assertIn(self.give(DOCUMENT), self.browser.text('doc-name'))
        self.ask('How long is part 3 valid?')
        self.answered()
        request = {'messages': [{'role': 'user', 'content': DOCUMENT + '\n\nHow long is part 3 valid?'}], 'kv_map': True, 'max_tokens': 1,
                   'kv_policy': 'fastkv', 'kv_retain': 0.1, 'tsp_rate': 0.2, 'cache_prompt': False}
        expected = self.server.post('/v1/chat/completions', request).json['fastkv']['map']
        shown = self.browser.run('return {...document.getElementById("map").dataset}')
        self.assertEqual([int(shown['tokens']), int(shown['kept'])], [len(expected['counts']), sum(expected['counts'])])
        self.assertGreater(len(expected['counts']), 3000)
        self.assertEqual(self.browser.text('map'), expected['text'])
        self.assertGreater(self.browser.run('return document.querySelectorAll("#map .far").length'), 0)
        self.assertEqual(self.browser.run('return document.querySelectorAll("#map b").length'), 0)
        self.browser.run('document.getElementById("map-part").scrollIntoView()')
        self.browser.screenshot('map')
        self.browser.devtools('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'dark'}])
        self.browser.screenshot('dark')
        self.browser.devtools('Emulation.setEmulatedMedia', features=[])

    def test_stop(self):
        self.browser.run('window.wanted = policyFields; policyFields = () => ({ ...wanted(), max_tokens: 6000, ignore_eos: true })')
        self.ask('Go on and on.')
        until(lambda: self.browser.run('const t = document.querySelectorAll(".turn"); return t.length > 1 && t[1].querySelector("p") !== null'))
        self.browser.click('stop')
        until(lambda: self.browser.hidden('stop'))
        until(self.server.idle)
        self.assertEqual(self.browser.text('notice'), '')

    def test_markup_stays_text(self):
        evil = '<img src=x onerror="document.title=1"> **bold <script>x</script>** [a](javascript:alert(1)) [b](https://example.org/)\n```\n<b>\n```'
        self.browser.run('markdown(document.getElementById("log"), arguments[0])', evil)
        found = self.browser.run('return ["img", "script", "b", "strong", "a", "pre"].map(t => document.querySelectorAll("#log " + t).length)')
        self.assertEqual(found, [0, 0, 0, 1, 1, 1])
        self.assertEqual(self.browser.run('return document.querySelector("#log a").href'), 'https://example.org/')

    def test_refusal_is_said_and_the_question_stays(self):
        self.ask('x' * 9000)
        until(lambda: not self.browser.hidden('notice'))
        self.assertIn('exceeds the available context size', self.browser.text('notice'))
        self.assertEqual(self.browser.run('return document.getElementById("text").value.length'), 9000)
        self.browser.complaints()  # the refusal's 400 is one

    def test_asks_for_the_key(self):
        server = Server(*self.options, '--api-key', 'sesame')
        try:
            self.load(server)
            self.ask('Hello?')
            until(lambda: self.browser.run('return document.getElementById("key-dialog").open'))
            self.browser.type('key', 'sesame\ue007')
            self.answered()
            self.browser.complaints()  # so is the 401
        finally:
            server.stop()

    def test_looks(self):
        self.browser.screenshot('light')
        self.browser.devtools('Emulation.setDeviceMetricsOverride', width=390, height=844, deviceScaleFactor=1, mobile=True)
        self.assertLessEqual(self.browser.run('return document.documentElement.scrollWidth'), 390)
        self.browser.screenshot('390')
        self.browser.click('show-side')
        self.browser.screenshot('390-document')
        self.browser.devtools('Emulation.clearDeviceMetricsOverride')

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])
        elsewhere = self.browser.run('return performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin))')
        self.assertEqual(elsewhere, [])


class Served(unittest.TestCase):
    def test_off(self):
        server = Server('--no-webui')
        self.assertEqual(server.get('/').status, 404)
        server.stop()

    def test_policy(self):
        server = Server()
        page = server.get('/')
        server.stop()
        self.assertTrue(page.body.startswith(b'<!doctype html>'))
        self.assertLess(len(page.body), 60 << 10)
        self.assertRegex(page.headers['Content-Security-Policy'], r"^default-src 'none'; script-src 'sha256-[A-Za-z0-9+/]{43}='; style-src 'sha256-")
        self.assertEqual(page.headers['X-Content-Type-Options'], 'nosniff')


if __name__ == '__main__':
    unittest.main()
