// Node's clients against a server with a model that can talk. Run by test_clients.py, where they are installed.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import test from 'node:test';

const url = process.env.FKV_URL + '/v1';
const installed = createRequire(process.env.FKV_CLIENTS + '/');
const load = (name) => import(pathToFileURL(installed.resolve(name)));
const { default: OpenAI } = await load('openai');
const { generateText, streamText } = await load('ai');
const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible');

const sky = 'Why is the sky blue? Answer in one short sentence.';
const client = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 });
const ask = (fields) => client.chat.completions.create({ model: 'any', max_tokens: 8, messages: [{ role: 'user', content: sky }], ...fields });
const models = createOpenAICompatible({ name: 'here', baseURL: url, includeUsage: true });

test('openai: chat and stream', async () => {
  const answer = await ask();
  assert.equal(answer.usage.completion_tokens, 8);
  let text = '', usage;
  for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage;
  }
  assert.equal(text, answer.choices[0].message.content);
  assert.equal(usage.completion_tokens, 8);
});

test('openai: logprobs, choices, completions, models', async () => {
  const choice = (await ask({ logprobs: true, top_logprobs: 2 })).choices[0];
  assert.equal(choice.logprobs.content.map((t) => t.token).join(''), choice.message.content);
  assert.equal((await ask({ n: 2, max_tokens: 2 })).choices.length, 2);
  const completion = await client.completions.create({ model: 'any', prompt: 'def add(a, b):\n    return', max_tokens: 4 });
  assert.match(completion.choices[0].text, /a \+ b/);
  assert.equal((await client.models.list()).data.length, 1);
});

test('openai: refusals', async () => {
  await assert.rejects(ask({ temperature: 50 }), OpenAI.BadRequestError);
  const { response } = await ask({ max_tokens: 1 }).withResponse();
  assert.ok(response.headers.get('x-request-id'));
});

test('openai: a stream is left', async () => {
  for await (const chunk of await ask({ stream: true, max_tokens: 2000, ignore_eos: true })) break;
  const slots = async () => (await (await fetch(process.env.FKV_URL + '/slots')).json()).filter((s) => s.is_processing).length;
  for (const end = Date.now() + 5000; await slots();) assert.ok(Date.now() < end, 'a session stays busy');
});

test('ai: generateText and streamText', async () => {
  const answer = await generateText({ model: models('any'), prompt: sky, maxOutputTokens: 8 });
  assert.equal(answer.usage.outputTokens, 8);
  assert.equal(answer.finishReason, 'length');
  const stream = streamText({ model: models('any'), prompt: sky, maxOutputTokens: 8 });
  let text = '';
  for await (const part of stream.textStream) text += part;
  assert.equal(text, answer.text);
  assert.equal((await stream.usage).outputTokens, 8);
});
