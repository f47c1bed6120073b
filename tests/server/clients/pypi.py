"""Python's clients against a server with a model that can talk. Run by test_clients.py, where they are installed."""
import asyncio
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import httpx
import langchain_openai
import litellm
import openai
import prometheus_client.parser

from harness import LETTERS, Server, together, until

URL = os.environ['FKV_URL']
SKY = [{'role': 'user', 'content': 'Why is the sky blue? Answer in one short sentence.'}]
BIN = pathlib.Path(sys.executable).parent


def local_openai(url=URL, **options):
    return openai.OpenAI(base_url=url + '/v1', api_key='none', **options)


class OpenAI(unittest.TestCase):
    def setUp(self):
        self.client = local_openai(max_retries=0)

    def tearDown(self):
        self.client.close()

    def chat(self, **fields):
        return self.client.chat.completions.create(model='any', messages=SKY, **{'max_tokens': 8, **fields})

    def test_plain(self):
        answer = self.chat(max_tokens=60)
        self.assertIn('sky is blue', answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, 'stop')
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_stream(self):
        whole = self.chat().choices[0].message.content
        chunks = list(self.chat(stream=True, stream_options={'include_usage': True}))
        self.assertEqual(''.join(c.choices[0].delta.content or '' for c in chunks if c.choices), whole)
        self.assertEqual(chunks[-1].usage.completion_tokens, 8)
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices][-1], 'length')

    def test_logprobs(self):
        choice = self.chat(logprobs=True, top_logprobs=3).choices[0]
        self.assertEqual(''.join(t.token for t in choice.logprobs.content), choice.message.content)
        self.assertEqual({len(t.top_logprobs) for t in choice.logprobs.content}, {3})

    def test_choices(self):
        answer = self.chat(n=2, temperature=1, seed=5)
        self.assertEqual([c.index for c in answer.choices], [0, 1])
        self.assertNotEqual(*(c.message.content for c in answer.choices))
        self.assertEqual(self.chat(n=2, temperature=1, seed=5).choices, answer.choices)

    def test_completions(self):
        answer = self.client.completions.create(model='any', prompt='def add(a, b):\n    return', max_tokens=4, logprobs=2)
        self.assertIn('a + b', answer.choices[0].text)
        self.assertEqual(len(answer.choices[0].logprobs.tokens), 4)
        chunks = self.client.completions.create(model='any', prompt='def add(a, b):\n    return', max_tokens=4, stream=True)
        self.assertEqual(''.join(c.choices[0].text for c in chunks), answer.choices[0].text)

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual(len(models), 1)
        self.assertEqual(self.client.models.retrieve(models[0].id), models[0])

    def test_raw_response(self):
        raw = self.client.chat.completions.with_raw_response.create(model='any', messages=SKY, max_tokens=1)
        self.assertTrue(raw.headers['x-request-id'])
        self.assertEqual(raw.parse().usage.completion_tokens, 1)

    def test_refusals(self):
        with self.assertRaisesRegex(openai.BadRequestError, 'temperature'):
            self.chat(temperature=50)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.chat.completions.create(model='any', messages=[{'role': 'user', 'content': 'long ' * 9000}])
        self.assertEqual(refused.exception.code, 'context_length_exceeded')
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve('nobody')

    def test_async(self):
        async def both():
            async with openai.AsyncOpenAI(base_url=URL + '/v1', api_key='none') as client:
                return await asyncio.gather(*(client.chat.completions.create(model='any', messages=SKY, max_tokens=8) for _ in range(2)))
        one, two = asyncio.run(both())
        self.assertEqual(one.choices[0].message.content, two.choices[0].message.content)


class OpenAIAndFaults(unittest.TestCase):
    """Over a small random model, whose server is shut down or has all it can do."""
    def start(self, *options):
        self.server = Server(*options, model=os.environ['FKV_SMALL_MODEL'])
        self.addCleanup(self.server.stop)
        client = local_openai(f'http://127.0.0.1:{self.server.port}', max_retries=5)
        self.addCleanup(client.close)
        return client

    def complete(self, client, **fields):
        return client.completions.create(model='any', prompt='x', extra_body={'logit_bias': LETTERS}, **fields)

    def test_full_queue_is_asked_again(self):
        client = self.start('-np', '1', '--queue', '1')
        statuses = []
        client = client.with_options(http_client=httpx.Client(event_hooks={'response': [lambda r: statuses.append(r.status_code)]}))
        answers = together([lambda: self.complete(client, max_tokens=300)] * 4)
        self.assertEqual([a.usage.completion_tokens for a in answers], [300] * 4)
        self.assertEqual((statuses.count(200), set(statuses)), (4, {200, 429}))
        client.close()

    def test_error_in_a_stream(self):
        client = self.start('--drain', '0')
        with self.assertRaises(openai.APIError):
            for i, _ in enumerate(self.complete(client, max_tokens=3500, stream=True)):
                if not i:
                    self.server.process.send_signal(signal.SIGTERM)

    def test_closing_a_stream_frees_the_session(self):
        client = self.start()
        with self.complete(client, max_tokens=3500, stream=True) as stream:
            next(iter(stream))
            self.assertFalse(self.server.idle())
        until(self.server.idle, 2)

    def test_key(self):
        client = self.start('--api-key', 'sesame')
        with self.assertRaises(openai.AuthenticationError):
            self.complete(client)
        self.complete(client.with_options(api_key='sesame'))


class LiteLLM(unittest.TestCase):
    how = {'model': 'openai/any', 'api_base': URL + '/v1', 'api_key': 'none', 'max_tokens': 8, 'num_retries': 0}

    def test_plain_and_cached(self):
        for _ in range(2):
            answer = litellm.completion(messages=SKY, **self.how)
        self.assertEqual(answer.usage.completion_tokens, 8)
        self.assertGreater(answer.usage.prompt_tokens_details.cached_tokens, 10)
        again = asyncio.run(litellm.acompletion(messages=SKY, **self.how))
        self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)

    def test_stream(self):
        text = ''.join(c.choices[0].delta.content or '' for c in litellm.completion(messages=SKY, stream=True, **self.how))
        self.assertEqual(text, litellm.completion(messages=SKY, **self.how).choices[0].message.content)

    def test_too_long(self):
        with self.assertRaises(litellm.ContextWindowExceededError):
            litellm.completion(messages=[{'role': 'user', 'content': 'long ' * 9000}], **self.how)


class LangChain(unittest.TestCase):
    def setUp(self):
        self.model = langchain_openai.ChatOpenAI(model='any', base_url=URL + '/v1', api_key='none', max_tokens=8, stream_usage=True)

    def test_invoke_and_stream(self):
        answer = self.model.invoke(SKY[0]['content'])
        self.assertEqual(answer.usage_metadata['output_tokens'], 8)
        self.assertEqual(answer.response_metadata['finish_reason'], 'length')
        whole = None
        for chunk in self.model.stream(SKY[0]['content']):
            whole = chunk if whole is None else whole + chunk
        self.assertEqual((whole.content, whole.usage_metadata['output_tokens']), (answer.content, 8))


class LLM(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        pathlib.Path(self.folder.name, 'extra-openai-models.yaml').write_text(f'- model_id: here\n  model_name: any\n  api_base: {URL}/v1\n')

    def tearDown(self):
        self.folder.cleanup()

    def run_llm(self, *arguments, said=None):
        done = subprocess.run([BIN / 'llm', *arguments], input=said, env={**os.environ, 'LLM_USER_PATH': self.folder.name}, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_prompt(self):
        plain = self.run_llm('-m', 'here', '--no-stream', '-o', 'max_tokens', '40', SKY[0]['content'])
        self.assertIn('sky is blue', plain)
        self.assertEqual(self.run_llm('-m', 'here', '-o', 'max_tokens', '40', SKY[0]['content']), plain)

    def test_two_turns(self):
        said = self.run_llm('chat', '-m', 'here', '-o', 'max_tokens', '30', said='My name is Ada.\nWhat is my name?\nexit\n')
        self.assertIn('Ada', [line for line in said.splitlines() if line.startswith('> ')][1], said)


class LMEval(unittest.TestCase):
    """A task of ours: two questions whose answers are known."""
    task = {'task': 'capitals', 'dataset_path': 'json', 'output_type': 'generate_until', 'test_split': 'test', 'doc_to_text': 'The capital of {{country}} is',
            'doc_to_target': '{{city}}', 'generation_kwargs': {'until': ['\n'], 'max_gen_toks': 12, 'temperature': 0},
            'metric_list': [{'metric': 'exact_match'}], 'metadata': {'version': 1}}

    def evaluate(self, model, url, *options):
        with tempfile.TemporaryDirectory() as folder:
            data = pathlib.Path(folder, 'data.jsonl')
            data.write_text('\n'.join(json.dumps({'country': c, 'city': t}) for c, t in (('France', 'Paris'), ('Italy', 'Rome'))))
            pathlib.Path(folder, 'capitals.yaml').write_text(json.dumps({**self.task, 'dataset_kwargs': {'data_files': {'test': str(data)}}}))
            env = {**os.environ, 'HF_HUB_OFFLINE': '1', 'HF_DATASETS_OFFLINE': '1', 'HF_HOME': folder, 'OPENAI_API_KEY': 'none'}
            done = subprocess.run([BIN / 'lm_eval', '--model', model, '--tasks', 'capitals', '--include_path', folder, '--output_path', folder + '/out', '--log_samples',
                                   '--model_args', f'model=any,base_url={URL}{url},num_concurrent=2,tokenizer_backend=None,tokenized_requests=False', *options],
                                  env=env, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            samples, = pathlib.Path(folder, 'out').rglob('samples_*.jsonl')
            return [json.loads(line)['resps'][0][0] for line in samples.read_text().splitlines()]

    def test_chat(self):
        answers = self.evaluate('local-chat-completions', '/v1/chat/completions', '--apply_chat_template')
        self.assertEqual(['Paris' in answers[0], 'Rome' in answers[1]], [True, True], answers)

    def test_completions(self):
        answers = self.evaluate('local-completions', '/v1/completions')
        self.assertEqual(['Paris' in answers[0], 'Rome' in answers[1]], [True, True], answers)


class Prometheus(unittest.TestCase):
    def test_metrics(self):
        import urllib.request
        with urllib.request.urlopen(URL + '/metrics') as answer:
            families = {f.name: f for f in prometheus_client.parser.text_string_to_metric_families(answer.read().decode())}
        self.assertEqual(families['fastkv_prompt_tokens'].type, 'counter')
        self.assertEqual(families['fastkv_time_to_first_token_seconds'].type, 'histogram')
        self.assertEqual({s.labels['api'] for s in families['fastkv_requests'].samples} <= {'chat', 'completions', 'native'}, True)


if __name__ == '__main__':
    unittest.main()
