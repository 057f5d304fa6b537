// For measure_bergamot.py: node measure_bergamot.mjs PACKAGE; each line of stdin is a request, each of stdout its answer.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const { BatchTranslator, TranslatorBacking } = await import(pathToFileURL(`${process.argv[2]}/translator.js`));
const translators = new Map();

function load({ folder, shortlist, batch }) {
  const { sourceLanguage: from, targetLanguage: to, files } = JSON.parse(readFileSync(`${folder}/metadata.json`));
  if (!shortlist) delete files.lex;
  class Local extends TranslatorBacking {
    async loadModelRegistery() {
      return [{ from, to, files }];
    }
    async fetch(name) {
      return new Uint8Array(gunzipSync(readFileSync(`${folder}/${name}.gz`))).buffer;
    }
  }
  const translator = new BatchTranslator({ batchSize: batch }, new Local({}));
  return (text) => translator.translate({ from, to, text, html: false });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { lines, batch, ...model } = JSON.parse(line);
  const key = JSON.stringify(model) + batch;
  if (!translators.has(key)) translators.set(key, load({ ...model, batch }));
  const translate = translators.get(key);
  const answers = [];
  const milliseconds = [];
  for (let i = 0; i < lines.length; i += batch) {
    const start = performance.now();
    answers.push(...(await Promise.all(lines.slice(i, i + batch).map(translate))));
    milliseconds.push(performance.now() - start);
  }
  console.log(JSON.stringify({ translations: answers.map((answer) => answer.target.text), milliseconds }));
}
process.exit();
