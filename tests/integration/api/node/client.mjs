// Asks the API by OpenAI's client for Node.js; writes what it was told as JSON. The API's address and key are in the
// client's own environment variables.
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const [file, prompt] = process.argv.slice(2);
const image = readFileSync(file, 'utf8');
const client = new OpenAI({ maxRetries: 0 });
const model = 'sam3edge';
const messages = [
  { role: 'user', content: [{ type: 'text', text: prompt }, { type: 'image_url', image_url: { url: image } }] },
];

const Inspection = z.object({
  defects: z.array(
    z.object({
      label: z.string(),
      confidence: z.number(),
      bounding_box: z.object({ x_min: z.number(), y_min: z.number(), x_max: z.number(), y_max: z.number() }),
      polygon: z.array(z.array(z.number())),
      severity: z.string().nullable(),
    }),
  ),
  scratch_count: z.int(),
  has_metal_tags: z.boolean(),
  summary: z.string(),
});

const models = [];
for await (const one of client.models.list()) models.push(one.id);
const chat = await client.chat.completions.create({ model, messages });
let streamed = '';
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
}
const response = await client.responses.create({
  model,
  input: [
    {
      role: 'user',
      content: [{ type: 'input_text', text: prompt }, { type: 'input_image', image_url: image, detail: 'auto' }],
    },
  ],
});
const parsed = await client.chat.completions.parse({
  model,
  messages,
  response_format: zodResponseFormat(Inspection, 'inspection'),
});
let refused;
try {
  await client.chat.completions.create({ model: 'gpt-5', messages });
} catch (error) {
  refused = { status: error.status, code: error.code };
}

console.log(
  JSON.stringify({
    models,
    chat: JSON.parse(chat.choices[0].message.content),
    streamed: JSON.parse(streamed).features,
    response: JSON.parse(response.output_text),
    parsed: parsed.choices[0].message.parsed,
    refused,
  }),
);
