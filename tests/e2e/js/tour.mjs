// SPDX-License-Identifier: Apache-2.0
// node tour.mjs URL: every call of the official client against a server; a line "ok STEP" or "not ok STEP: why" for each.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Ollama } from 'ollama'

const url = process.argv[2]
const client = new Ollama({ host: url })
const FEW = { num_predict: 6, temperature: 0 }
const USER = [{ role: 'user', content: 'hello' }]
const PNG = Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10])
const steps = []
const step = (name, run) => steps.push({ name, run })

const all = async (stream) => {
  const parts = []
  for await (const part of stream) parts.push(part)
  return parts
}

// The refusal of a call: status and text.
const refusal = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('was not refused')
}
const refused = async (promise, status, pattern) => {
  const error = await refusal(promise)
  assert.equal(error.name, 'ResponseError', error.stack)
  assert.equal(error.status_code, status)
  assert.match(error.error, pattern)
}

step('version', async () => {
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/)
})

step('list', async () => {
  const { models } = await client.list()
  const names = models.map((m) => m.model)
  for (const name of ['sim-small:latest', 'sim-think:latest', 'sim-embed:latest', 'sim-vision:latest', 'sim-code:latest'])
    assert.ok(names.includes(name), name)
  assert.equal(models[0].digest.length, 64)
  assert.ok(Date.parse(models[0].modified_at) <= Date.now())
})

step('show', async () => {
  const shown = await client.show({ model: 'sim-small' })
  assert.deepEqual(shown.capabilities, ['completion', 'tools'])
  assert.equal(shown.model_info['llama.block_count'], 28)
  assert.equal(shown.model_info['tokenizer.ggml.tokens'], null)
})

step('show verbose', async () => {
  const shown = await client.show({ model: 'sim-small', verbose: true })
  assert.equal(shown.model_info['tokenizer.ggml.tokens'].length, 128256)
  assert.equal(shown.model_info['llama.attention.head_count_kv'], 8)
})

step('generate', async () => {
  const answer = await client.generate({ model: 'sim-small', prompt: 'hello', options: FEW })
  assert.equal(answer.done_reason, 'length')
  assert.equal(answer.eval_count, 6)
  assert.ok(answer.context.length > 6)
  assert.ok(answer.total_duration > answer.load_duration + answer.prompt_eval_duration + answer.eval_duration)
})

step('generate stream', async () => {
  const parts = await all(await client.generate({ model: 'sim-small', prompt: 'hello', stream: true, options: FEW }))
  const whole = await client.generate({ model: 'sim-small', prompt: 'hello', options: FEW })
  assert.equal(parts.length, 7)
  assert.equal(parts.map((p) => p.response).join(''), whole.response)
  assert.deepEqual(parts.map((p) => p.done), [false, false, false, false, false, false, true])
})

step('generate raw, template, system, context', async () => {
  const raw = await client.generate({ model: 'sim-small', prompt: 'hello', raw: true, options: FEW })
  assert.equal(raw.prompt_eval_count, 3)
  assert.equal(raw.context, undefined)
  const plain = await client.generate({ model: 'sim-small', prompt: 'hello', template: '{{ .Prompt }}', options: FEW })
  const system = await client.generate({ model: 'sim-small', prompt: 'hello', system: 'be very short', options: FEW })
  assert.ok(system.prompt_eval_count > plain.prompt_eval_count)
  const next = await client.generate({ model: 'sim-small', prompt: 'more', context: plain.context, options: FEW })
  assert.ok(next.prompt_eval_count > plain.context.length)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', raw: true, system: 'y' }), 400, /raw mode does not support/)
})

step('options stop', async () => {
  const whole = await client.generate({ model: 'sim-small', prompt: 'hello', options: FEW })
  const word = whole.response.trim().split(' ')[2]
  const cut = await client.generate({ model: 'sim-small', prompt: 'hello', options: { ...FEW, stop: [word] } })
  assert.equal(cut.done_reason, 'stop')
  assert.ok(whole.response.startsWith(cut.response) && cut.eval_count < 6)
})

step('chat', async () => {
  const answer = await client.chat({ model: 'sim-small', messages: USER, options: FEW })
  assert.equal(answer.message.role, 'assistant')
  assert.ok(answer.message.content)
  const longer = [{ role: 'system', content: 'be short' }, ...USER, answer.message, { role: 'user', content: 'more' }]
  const next = await client.chat({ model: 'sim-small', messages: longer, options: FEW })
  assert.ok(next.prompt_eval_count > answer.prompt_eval_count + 6)
})

step('chat stream', async () => {
  const parts = await all(await client.chat({ model: 'sim-small', messages: USER, stream: true, options: FEW }))
  assert.equal(parts.length, 7)
  assert.ok(parts.slice(0, 6).every((p) => p.message.content && !p.done))
  assert.ok(parts[6].done && parts[6].eval_count === 6)
})

step('format json', async () => {
  const answer = await client.generate({ model: 'sim-small', prompt: 'hello', format: 'json' })
  assert.equal(typeof JSON.parse(answer.response), 'object')
})

step('format schema', async () => {
  const format = {
    type: 'object',
    properties: {
      name: { type: 'string' }, age: { type: 'integer' }, weight: { type: 'number' }, isWell: { type: 'boolean' },
      colour: { enum: ['red', 'green'] }, friends: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
    },
    required: ['name', 'age'],
  }
  const parts = await all(await client.chat({ model: 'sim-small', messages: USER, format, stream: true }))
  const value = JSON.parse(parts.map((p) => p.message.content).join(''))
  assert.deepEqual(Object.keys(value), Object.keys(format.properties))
  assert.ok(Number.isInteger(value.age) && typeof value.isWell === 'boolean' && ['red', 'green'].includes(value.colour))
  assert.equal(typeof value.friends[0].name, 'string')
  await refused(client.generate({ model: 'sim-small', prompt: 'x', format: 'xml' }), 500, /invalid format/)
})

const WEATHER = {
  type: 'function',
  function: { name: 'get_weather', description: 'of a city', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } },
}

step('tools', async () => {
  const messages = [{ role: 'user', content: 'how is the weather?' }]
  const answer = await client.chat({ model: 'sim-small', messages, tools: [WEATHER] })
  const [call] = answer.message.tool_calls
  assert.equal(call.function.name, 'get_weather')
  assert.equal(typeof call.function.arguments.city, 'string')
  messages.push(answer.message, { role: 'tool', tool_name: call.function.name, content: 'sunny' })
  const words = await client.chat({ model: 'sim-small', messages, tools: [WEATHER], options: FEW })
  assert.ok(words.message.content && !words.message.tool_calls)
})

step('tools stream', async () => {
  const parts = await all(await client.chat({ model: 'sim-small', messages: USER, tools: [WEATHER], stream: true }))
  assert.equal(parts.filter((p) => p.message.tool_calls).length, 1)
  assert.equal(parts.at(-1).done_reason, 'stop')
  await refused(client.chat({ model: 'sim-vision', messages: USER, tools: [WEATHER] }), 400, /does not support tools/)
})

step('images', async () => {
  const plain = await client.chat({ model: 'sim-vision', messages: USER, options: FEW })
  const seen = await client.chat({ model: 'sim-vision', messages: [{ ...USER[0], images: [PNG] }], options: FEW })
  assert.ok(seen.prompt_eval_count > plain.prompt_eval_count + 100)
  assert.ok((await client.generate({ model: 'sim-vision', prompt: 'x', images: [PNG], options: FEW })).response)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', images: [PNG] }), 400, /image input/)
  await refused(client.generate({ model: 'sim-vision', prompt: 'x', images: ['?'] }), 400, /illegal base64/)
})

step('think', async () => {
  const thought = async (think) => (await client.chat({ model: 'sim-think', messages: USER, think, options: { seed: 1 } })).message.thinking ?? ''
  const [none, low, plain, high] = [await thought(false), await thought('low'), await thought(true), await thought('high')]
  assert.equal(none, '')
  assert.ok(low && low.length < plain.length && plain.length < high.length)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', think: true }), 400, /does not support thinking/)
  await refused(client.generate({ model: 'sim-think', prompt: 'x', think: 'wild' }), 400, /think/)
})

step('think stream', async () => {
  const parts = await all(await client.generate({ model: 'sim-think', prompt: 'x', stream: true, think: true, options: { seed: 1, num_predict: 200 } }))
  const firstWord = parts.findIndex((p) => p.response)
  assert.ok(firstWord > 5 && parts.slice(0, firstWord).every((p) => p.thinking))
  assert.ok(parts.slice(firstWord, -1).every((p) => p.response && !p.thinking))
})

step('logprobs', async () => {
  const answer = await client.generate({ model: 'sim-small', prompt: 'x', logprobs: true, top_logprobs: 2, options: FEW })
  assert.equal(answer.logprobs.map((l) => l.token).join(''), answer.response)
  assert.ok(answer.logprobs.every((l) => l.logprob < 0 && l.top_logprobs.length === 2))
  const parts = await all(await client.chat({ model: 'sim-small', messages: USER, logprobs: true, stream: true, options: FEW }))
  assert.equal(parts[0].logprobs[0].token, parts[0].message.content)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', top_logprobs: 21 }), 400, /between 0 and 20/)
})

step('suffix', async () => {
  assert.ok((await client.generate({ model: 'sim-code', prompt: 'def f(', suffix: ')', options: FEW })).response)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', suffix: 'y' }), 400, /does not support insert/)
})

step('embed', async () => {
  const one = await client.embed({ model: 'sim-embed', input: 'hello world' })
  const two = await client.embed({ model: 'sim-embed', input: ['hello world', 'second'], dimensions: 64, truncate: true })
  assert.equal(one.embeddings[0].length, 768)
  assert.deepEqual(two.embeddings.map((e) => e.length), [64, 64])
  assert.ok(Math.abs(one.embeddings[0].reduce((sum, x) => sum + x * x, 0) - 1) < 1e-6)
  await refused(client.embed({ model: 'sim-small', input: 'x' }), 501, /does not support embeddings/)
  const long = 'jil '.repeat(3000)
  await refused(client.embed({ model: 'sim-embed', input: long, truncate: false }), 400, /exceeds the context length/)
})

step('embeddings', async () => {
  assert.equal((await client.embeddings({ model: 'sim-embed', prompt: 'hello' })).embedding.length, 768)
})

step('keep_alive and ps', async () => {
  const left = async () => {
    const { models } = await client.ps()
    const m = models.find((one) => one.model === 'sim-small:latest')
    return m && (Date.parse(m.expires_at) - Date.now()) / 1000
  }
  const load = (keep_alive) => client.generate({ model: 'sim-small', prompt: '', keep_alive })
  assert.equal((await load('10h')).done_reason, 'load')
  // World time runs faster than the clock of the test; only the order of the sizes is looked at.
  const hours = await left()
  await load(7200)
  assert.ok((await left()) < hours)
  await load(-1)
  assert.ok((await left()) > 1e9)
  assert.equal((await load(0)).done_reason, 'unload')
  assert.equal(await left(), undefined)
  await refused(load('5'), 400, /missing unit/)
})

step('ps of a loaded model', async () => {
  await client.generate({ model: 'sim-small', prompt: '', keep_alive: '10h', options: { num_ctx: 8192 } })
  const m = (await client.ps()).models.find((one) => one.model === 'sim-small:latest')
  assert.equal(m.context_length, 8192)
  assert.ok(m.size > 2e9 && m.size_vram === 0 && m.details.family === 'llama')
})

step('create', async () => {
  const made = await client.create({ model: 'mine', from: 'sim-small', system: 'be brief', parameters: { num_ctx: 2048, temperature: 0.2, stop: ['x', 'y'] } })
  assert.equal(made.status, 'success')
  const shown = await client.show({ model: 'mine' })
  assert.equal(shown.system, 'be brief')
  assert.match(shown.parameters, /num_ctx +2048/)
  assert.equal(shown.details.parent_model, 'sim-small:latest')
  await client.generate({ model: 'mine', prompt: 'x', options: FEW })
  assert.equal((await client.ps()).models[0].context_length, 2048)
})

step('create stream', async () => {
  const parts = await all(await client.create({ model: 'mine', from: 'sim-small', template: '{{ .Prompt }}', stream: true }))
  assert.match(parts[0].status, /^using existing layer sha256:/)
  assert.deepEqual(parts.slice(-2).map((p) => p.status), ['writing manifest', 'success'])
  const error = await refusal(all(await client.create({ model: 'other', from: 'nope', stream: true })))
  assert.match(error.message, /pull model manifest/)
  await refused(client.create({ model: 'other' }), 400, /neither 'from' or 'files'/)
})

step('copy and delete', async () => {
  assert.equal((await client.copy({ source: 'mine', destination: 'twin' })).status, 'success')
  for (const model of ['mine', 'twin']) assert.equal((await client.delete({ model })).status, 'success')
  const names = (await client.list()).models.map((m) => m.model)
  assert.ok(!names.includes('mine:latest') && !names.includes('twin:latest'))
  await refused(client.delete({ model: 'mine' }), 404, /not found/)
  await refused(client.copy({ source: 'nope', destination: 'x' }), 404, /not found/)
})

step('pull', async () => {
  const parts = await all(await client.pull({ model: 'sim-small', stream: true }))
  assert.equal(parts[0].status, 'pulling manifest')
  assert.ok(parts.some((p) => p.digest && p.total === p.completed))
  assert.equal(parts.at(-1).status, 'success')
  assert.equal((await client.pull({ model: 'sim-small' })).status, 'success')
  const error = await refusal(all(await client.pull({ model: 'nope', stream: true })))
  assert.match(error.message, /pull model manifest/)
  await refused(client.pull({ model: 'nope' }), 500, /pull model manifest/)
})

step('push', async () => {
  const error = await refusal(all(await client.push({ model: 'sim-small', stream: true })))
  assert.match(error.message, /not authorized to push/)
  await refused(client.push({ model: 'sim-small' }), 500, /not authorized to push/)
})

step('blobs', async () => {
  const bytes = 'GGUF and more'
  const digest = 'sha256:' + createHash('sha256').update(bytes).digest('hex')
  const status = async (method, path, body) => (await fetch(`${url}/api/blobs/${path}`, { method, body })).status
  assert.equal(await status('HEAD', digest), 404)
  assert.equal(await status('POST', digest, 'other'), 400)
  assert.equal(await status('POST', digest, bytes), 201)
  assert.equal(await status('HEAD', digest), 200)
  await refused(client.create({ model: 'other', files: { 'm.gguf': digest } }), 400, /not in GGUF format/)
})

step('abort a stream', async () => {
  const stream = await client.generate({ model: 'sim-small', prompt: 'x', stream: true, options: { num_predict: -1, seed: 1 } })
  let parts = 0
  const error = await refusal((async () => {
    for await (const part of stream) if (part.response && ++parts >= 3) stream.abort()
  })())
  assert.equal(error.name, 'AbortError')
  assert.ok(parts >= 3 && parts < 1000)
  // The slot is free again: the next one is answered.
  assert.equal((await client.generate({ model: 'sim-small', prompt: 'y', options: FEW })).eval_count, 6)
})

step('abort them all', async () => {
  const own = new Ollama({ host: url })
  const streams = [await own.generate({ model: 'sim-small', prompt: 'x', stream: true, options: { num_predict: -1 } })]
  const ended = streams.map((stream) => refusal(all(stream)))
  own.abort()
  for (const error of await Promise.all(ended)) assert.equal(error.name, 'AbortError')
})

step('at once', async () => {
  const answers = await Promise.all([1, 2, 3, 4].map((seed) => client.generate({ model: 'sim-small', prompt: 'x', options: { num_predict: 4, seed } })))
  assert.deepEqual(answers.map((a) => a.eval_count), [4, 4, 4, 4])
})

step('errors', async () => {
  await refused(client.generate({ model: 'nope', prompt: 'x' }), 404, /^model 'nope' not found$/)
  await refused(client.chat({ model: 'nope', messages: USER }), 404, /not found/)
  await refused(client.chat({ model: '', messages: USER }), 400, /^model is required$/)
  await refused(client.show({ model: 'nope' }), 404, /not found/)
  await refused(client.embed({ model: 'nope', input: 'x' }), 404, /try pulling it first/)
  await refused(client.generate({ model: 'sim-embed', prompt: 'x' }), 400, /does not support generate/)
  await refused(client.chat({ model: 'sim-embed', messages: USER }), 400, /does not support chat/)
  await refused(client.generate({ model: 'sim-small', prompt: 'x', options: { num_ctx: '1' } }), 500, /must be of type integer/)
  await refused(client.generate({ model: 'sim-small', prompt: 7 }), 400, /cannot unmarshal number/)
  await refused(client.systemone({ model: 'sim-small' }), 404, /404 page not found/)
})

let failed = 0
for (const { name, run } of steps) {
  try {
    await run()
    console.log(`ok ${name}`)
  } catch (error) {
    failed++
    console.log(`not ok ${name}: ${String(error.stack ?? error).replaceAll('\n', '\n    ')}`)
  }
}
console.log(`${steps.length - failed} of ${steps.length} steps`)
process.exit(failed ? 1 : 0)
